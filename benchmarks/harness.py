"""What every comparison with a bound has in common: runs in turn, median and spread, counters per event and their gate.

Ours and the bound take turns on the same servers, so that what else the machine does falls on both. Wall time is
reported and never gated: it says as much about the neighbours. What is gated are counters of one event (statements,
rows, bytes), which are the same on every machine, against `baseline.json`.
"""

import os
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

BASELINE: Final = Path(__file__).with_name("baseline.json")
TOLERANCE: Final = 0.05
"""A counter may be this much above its baseline: batches are not cut at the same place every time."""
RUNS_MIN: Final = 5

Counters = Mapping[str, float]
"""What one event costs, by name: `statements`, `rows`, `bytes`."""


@dataclass(frozen=True)
class Run:
    """One run of one side: how many events in how many seconds; `cpu_s` is the side's own processor time, if known."""

    events: int
    seconds: float
    cpu_s: float | None = None

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


Side = Callable[[], Awaitable[Run]]


async def compare(ours: Side, bound: Side, *, runs: int, warm_up: int = 1) -> dict[str, Any]:
    """Let both sides run in turn; return their figures and the ratio of each pair, after `warm_up` pairs uncounted.

    `ratio` is ours / bound of the two runs beside each other. Raises ValueError for fewer than one run.
    """
    found = await in_turn({"ours": ours, "bound": bound}, runs=runs, warm_up=warm_up)
    return {**found, "ratio": found["ratio"]["bound"]}


async def in_turn(sides: Mapping[str, Side], *, runs: int, warm_up: int = 1) -> dict[str, Any]:
    """Let all sides run, one after the other, again and again; return figures by name after `warm_up` rounds uncounted.

    `ratio` is, for each side but the first, the first's rate by that side's in the same round. Raises ValueError for
    fewer than one run.
    """
    if runs < 1:
        raise ValueError("--runs must be at least 1")
    rounds: list[dict[str, Run]] = []
    before = os.getloadavg()[0]
    for number in range(warm_up + runs):
        one = {name: await side() for name, side in sides.items()}
        said = "warm-up" if number < warm_up else f"run {number - warm_up + 1} of {runs}"
        sys.stderr.write(f"{said}: {', '.join(f'{name} {run.rate:,.0f}/s' for name, run in one.items())}\n")
        if number >= warm_up:
            rounds.append(one)
    first, *others = sides
    return {
        "runs": runs,
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "load_average": [round(before, 1), round(os.getloadavg()[0], 1)],
        **{name: _figures([one[name] for one in rounds]) for name in sides},
        "ratio": {other: series([one[first].rate / one[other].rate for one in rounds]) for other in others},
    }


def _figures(runs: Sequence[Run]) -> dict[str, Any]:
    figures: dict[str, Any] = {"per_s": series([run.rate for run in runs])}
    cpu = [1e6 * run.cpu_s / run.events for run in runs if run.cpu_s is not None]
    return figures | ({"cpu_us_per_event": series(cpu)} if cpu else {})


def series(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and greatest, and the spread: (greatest - least) / median."""
    median = statistics.median(values)
    least, greatest = min(values), max(values)
    shown = {"median": median, "min": least, "max": greatest, "spread": (greatest - least) / median if median else 0.0}
    return {name: float(f"{value:.4g}") for name, value in shown.items()}


def breaches(name: str, workload: Mapping[str, Any], counters: Counters, path: Path = BASELINE) -> list[str]:
    """Return, as sentences, what is worse than the baseline of `name`; empty when nothing is.

    A counter that the baseline does not know, or a baseline of another workload, is a breach: nothing passes unseen.
    """
    known = _read(path).get(name)
    if known is None:
        return [f"{name} has no baseline; measure it with --record and commit {path.name}"]
    if known["workload"] != workload:
        return [
            f"{name}: the baseline is of another workload ({known['workload']}); leave the options at their defaults"
        ]
    expected: dict[str, float] = known["counters"]
    odd = sorted(expected.keys() ^ counters.keys())
    worse = [c for c in sorted(expected.keys() & counters.keys()) if counters[c] > expected[c] * (1 + TOLERANCE)]
    return [f"{name}: counter {c} is in one of measurement and baseline only" for c in odd] + [
        f"{name}: {c} per event rose from {expected[c]:g} to {counters[c]:g}" for c in worse
    ]


def record(name: str, workload: Mapping[str, Any], counters: Counters, path: Path = BASELINE) -> None:
    """Make these counters the baseline of `name`."""
    kept = _read(path) | {name: {"workload": dict(workload), "counters": dict(counters)}}
    path.write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))


def _read(path: Path) -> dict[str, Any]:
    return orjson.loads(path.read_bytes()) if path.exists() else {}


def table(result: Mapping[str, Any]) -> str:
    """Return a comparison as a table for people.

    Beside what `compare` returned it has `name`, `event`, `bound_is`, `workload` and `counters`.
    """
    title = f"{result['name']}, {result['event']}/s"
    lines = [f"{title:<44}{'median':>10}{'least':>10}{'most':>10}{'spread':>8}"]
    lines.append(_line("ours", result["ours"]["per_s"]))
    lines.append(_line(result["bound_is"], result["bound"]["per_s"]))
    lines.append(_line("ratio, each pair of runs", result["ratio"], digits=3))
    for side, label in (("ours", "processor µs an event, ours"), ("bound", "processor µs an event, the bound")):
        if found := result[side].get("cpu_us_per_event"):
            lines.append(_line(label, found))
    counted = ", ".join(f"{name} {value:g}" for name, value in result["counters"].items())
    if counted:
        lines.append(f"per event: {counted}")
    lines.append(circumstances(result))
    return "\n".join(lines) + "\n"


def circumstances(result: Mapping[str, Any]) -> str:
    """Return in one line what was worked on, how often, and how busy the machine was."""
    work = ", ".join(f"{name} {value}" for name, value in result["workload"].items())
    first, last = result["load_average"]
    return f"{work}; {result['runs']} runs; load average {first} to {last} on {result['cores']} cores"


def _line(label: str, figures: Mapping[str, float], *, digits: int = 0) -> str:
    shown = "".join(f"{figures[name]:>10,.{digits}f}" for name in ("median", "min", "max"))
    return f"{label:<44}{shown}{figures['spread']:>8.0%}"

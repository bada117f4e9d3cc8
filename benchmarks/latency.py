"""From the HTTP answer of a change to the COMMIT of the last of three affiliates, under a fixed rate of changes.

Some changes are sign-ups, the others correct the name of a member who was there before, each member once: every change
goes to every store. Changes leave on schedule whether or not the last one was answered (open loop), so a stall shows,
and what HTTP takes counts from when a change was due. A change refused for want of room (503) is counted and not sent
again; one without an answer in five times the run's seconds is counted and given up. Commit times are PostgreSQL's own
(`track_commit_timestamp`), on the clock that stamps the answers: one machine.

Beside it, at the same rate, the bare path (`bare`), in turn with ours on the same Kafka and PostgreSQL, after a round
that does not count. The bare path begins when ours is at rest with nothing left to do, but ours stays up: starting it
anew in each round would measure its first second again and again, and running all of one side before the other would
put a neighbour's hour on one of them. So what our idle processes poll is on the bare path (`cpu_idle`: 0.13 of two
cores besides the servers'), and the bare path's idle consumers are on ours.
"""

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks import bare, harness, ours, servers
from benchmarks.ours import Ran
from benchmarks.stages import Times

WARM_UP: Final = 1
QUANTILES: Final = ("p50", "p99")
STAGES: Final = {
    "sign_up_http_ms": "HTTP answer of a sign-up",
    "correction_http_ms": "HTTP answer of a correction",
    "to_last_commit_ms": "2xx to the last affiliate's COMMIT",
    "to_last_produced_ms": "  2xx to the last record's produce",
    "produced_to_commit_ms": "  produce to COMMIT, slowest store",
    "bare_ms": "bare produce, consume, COMMIT",
}
Round = Mapping[str, Any]
"""Figures of one run of ours and one of the bare path, by name; those of a stage are `quantiles`."""


async def measure(rate: float, seconds: float, sign_up_every: int, runs: int) -> dict[str, Any]:
    """Let both sides run in turn on a fresh system; return milliseconds, and ratios to the bare path.

    Raises ValueError for fewer than one run, TimeoutError when the system does not come to rest.
    """
    if runs < 1:
        raise ValueError("--runs must be at least 1")
    before, rounds = os.getloadavg()[0], WARM_UP + runs
    async with servers.system({"track_commit_timestamp": "on"}) as system, bare.opened(system.stack) as path:
        side = await ours.ready(system, rounds * int(rate * seconds), sign_up_every)
        found = []
        for number in range(rounds):
            ran = await side.run(rate, seconds)
            found.append(figures(ran, await path.run(rate, seconds)))
            _say("warm-up" if number < WARM_UP else f"run {number} of {runs}", found[-1])
    return {
        "rate": rate,
        "seconds": seconds,
        "runs": runs,
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "load_average": [round(before, 1), round(os.getloadavg()[0], 1)],
        **summary(found[WARM_UP:]),
        "cpu_idle": {name: round(cores, 3) for name, cores in sorted(side.idle.items())},
    }


def figures(ran: Ran, bare_ms: Sequence[float]) -> Round:
    """Return what one round found."""
    answers, at = ran.answers, {a.key: a.at for a in ran.answers.all}
    return {
        "accepted": len(at),
        "refused": answers.refused,
        "unanswered": answers.unanswered,
        "sign_ups": len(answers.sign_ups),
        "accepted_per_s": len(at) / ran.took_s,
        "sign_up_http_ms": quantiles([a.http_ms for a in answers.sign_ups]),
        "correction_http_ms": quantiles([a.http_ms for a in answers.corrections]),
        "to_last_commit_ms": _between(at, ran.committed),
        "to_last_produced_ms": _between(at, ran.produced),
        "produced_to_commit_ms": _between(ran.produced, ran.committed),
        "bare_ms": quantiles(bare_ms),
        "cpu_ms_a_change": {name: ms / len(at) for name, ms in sorted(ran.cpu_ms.items())},
    }


def _between(first: Times, last: Times) -> dict[str, float]:
    return quantiles([1000 * (last[key] - at) for key, at in first.items()])


def _say(which: str, found: Round) -> None:
    sides = [f"{found[name]['p50']} / {found[name]['p99']} ms" for name in ("to_last_commit_ms", "bare_ms")]
    sys.stderr.write(f"{which}: p50 / p99 of ours {sides[0]}, bare {sides[1]}\n")


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return counts of all rounds together, and for what was measured their series; `ratio` is of each pair."""
    spent = [one["cpu_ms_a_change"] for one in rounds]
    ratios = {q: [one["to_last_commit_ms"][q] / one["bare_ms"][q] for one in rounds] for q in QUANTILES}
    return {
        **{name: sum(one[name] for one in rounds) for name in ("accepted", "refused", "unanswered", "sign_ups")},
        "accepted_per_s": harness.series([one["accepted_per_s"] for one in rounds]),
        **{stage: _series([one[stage] for one in rounds]) for stage in STAGES},
        "ratio": {q: harness.series(of) for q, of in ratios.items()},
        "cpu_ms_a_change": {name: round(statistics.median(one[name] for one in spent), 2) for name in spent[0]},
    }


def _series(of: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Nothing when one round had too few for quantiles."""
    return {q: harness.series([one[q] for one in of]) for q in QUANTILES} if all(of) else {}


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Return median, 99th percentile and maximum, rounded to 0.1; nothing of fewer than two."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1), "max": round(max(values), 1)}


def table(result: Mapping[str, Any]) -> str:
    """Return the result as a table for people."""
    lines = [f"{'milliseconds: median (least to greatest)':<42}{'p50':>30}{'p99':>30}"]
    lines += [_line(label, result[stage]) for stage, label in STAGES.items() if result[stage]]
    lines.append(_line("ratio to the bare path, each pair of runs", result["ratio"]))
    lines.append("processor ms a change; cores when idle")
    spent, idle = result["cpu_ms_a_change"], result["cpu_idle"]
    lines += [f"  {name:<40}{spent[name]:>10}{idle[name]:>10}" for name in spent]
    kinds = ", ".join(f"{result[name]} {name.replace('_', '-')}" for name in ("sign_ups", "refused", "unanswered"))
    accepted, (first, last) = result["accepted_per_s"], result["load_average"]
    lines.append(f"{result['rate']:g}/s asked for, {_spread(accepted)} accepted; {result['accepted']} in all, {kinds}")
    lines.append(
        f"{result['runs']} runs of {result['seconds']:g} s; load average {first} to {last} on {result['cores']} cores"
    )
    return "\n".join(lines) + "\n"


def _line(label: str, of: Mapping[str, Mapping[str, float]]) -> str:
    return f"{label:<42}" + "".join(f"{_spread(of[q]):>30}" for q in QUANTILES)


def _spread(of: Mapping[str, float]) -> str:
    return f"{of['median']:,.1f} ({of['min']:,.1f} to {of['max']:,.1f})"

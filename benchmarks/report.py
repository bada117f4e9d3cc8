"""`python -m benchmarks.report`: write the plots and the tables of docs/performance.md from the results kept beside it.

A kept result is the JSON line of a command, in docs/performance/COMMAND.json; `bounds.jsonl` and `latency.jsonl` have
the lines of several. A table stands between two comments that name it. Nothing here measures.
"""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.growth import QUESTIONS
from benchmarks.peer import labels
from benchmarks.plots import Bar, bars

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
PAGE: Final = DOCS / "performance.md"
KEPT: Final = DOCS / "performance"
Result = Mapping[str, Any]


def kept(name: str) -> Any:
    """Return the kept result of a command."""
    return orjson.loads((KEPT / f"{name}.json").read_bytes())


def kept_lines(name: str) -> list[Any]:
    """Return the kept results of several runs."""
    return [orjson.loads(line) for line in (KEPT / f"{name}.jsonl").read_bytes().splitlines()]


def plots() -> dict[str, str]:
    """Return every plot: file name to SVG."""
    found, growth = kept("peers"), kept("growth")
    return {
        "peers.svg": bars(
            "The same changes to three stores", "changes/s; the line spans the runs", [("", _sides(found))]
        ),
        "growth-rate.svg": bars("Changes applied", "changes/s", _grouped(growth, "per_s")),
        "growth-memory.svg": bars("Memory of the largest process", "MiB resident", _grouped(growth, "resident_mib")),
    }


def tables() -> dict[str, str]:
    """Return every table: the name in the page to Markdown."""
    found, growth = kept("peers"), kept("growth")
    return {
        "peers": _peers(found),
        "growth": _growth(growth),
        "plans": _plans(growth),
        "history": _history(growth),
        "bounds": _bounds(kept_lines("bounds")),
        "latency": _latency(kept_lines("latency")),
    }


def filled(page: str, made: Mapping[str, str]) -> str:
    """Return the page with each table between its comments. Raises KeyError for one that is not made."""

    def put(match: "re.Match[str]") -> str:
        return f"{match[1]}\n{made[match[2]]}\n{match[3]}"

    return re.sub(r"(<!-- table (\w+) -->)\n.*?(<!-- end -->)", put, page, flags=re.DOTALL)


def _sides(found: Result) -> list[Bar]:
    figures = {name: (label, found[name]["per_s"]) for name, label in labels(found).items()}
    return [
        Bar(label, f["median"], f["min"], f["max"], "ours" if name == "ours" else "other")
        for name, (label, f) in figures.items()
    ]


def _grouped(growth: Result, figure: str) -> list[tuple[str, list[Bar]]]:
    return [
        (text, [Bar(f"{point['at']:,}", point[figure]) for point in growth[question]["points"]])
        for question, text in QUESTIONS.items()
        if question in growth
    ]


def _table(head: str, rows: list[list[str]]) -> str:
    columns = head.split("|")
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "\n".join("| " + " | ".join(cell.strip() for cell in line) + " |" for line in lines)


def _under(result: Result) -> str:
    first, last = result["load_average"]
    return f"\n\nLoad average {first} to {last} on {result['cores']} cores, Python {result['python']}."


def _loads(growth: Result) -> str:
    told = [
        f"{QUESTIONS[name]} {' to '.join(map(str, growth[name]['load_average']))}"
        for name in QUESTIONS
        if name in growth
    ]
    missing = "".join(f" Not measured yet: {text}." for name, text in QUESTIONS.items() if name not in growth)
    events = growth["workload"]["events"]
    return f"\n\n{events:,} changes at each point. Load average on {growth['cores']} cores: {'; '.join(told)}.{missing}"


def _peers(found: Result) -> str:
    rows = []
    for name, label in labels(found).items():
        figures, ratio = found[name]["per_s"], found["ratio"].get(name)
        cpu = found[name]["cpu_us_per_event"]["median"]
        middle = [f"{figures['median']:,.0f}", f"{3 * figures['median']:,.0f}", f"{figures['spread']:.0%}"]
        rows.append([label, *middle, f"{cpu:,.0f}", f"{ratio['median']:.2f}" if ratio else ""])
    head = "to three stores | changes/s | rows/s | spread | processor µs a change | ours by it"
    work = found["workload"]
    told = f" {work['changes']:,} changes of {work['members']:,} members, {found['runs']} runs, median."
    missing = "".join(f" Left out: {name} ({why})." for name, why in found["missing"].items())
    return _table(head, rows) + _under(found) + told + missing


def _bounds(found: list[Result]) -> str:
    parts = [part for result in found for part in result.get("parts", [result])]
    rows = []
    for one in parts:
        sides, ratio = (one["ours"], one["bound"]), one["ratio"]
        rates = [f"{side['per_s']['median']:,.0f}" for side in sides]
        cpu = [f"{side['cpu_us_per_event']['median']:,.0f}" if "cpu_us_per_event" in side else "" for side in sides]
        spread = f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
        rows.append([f"{one['name']}, {one['event']}", one["bound_is"], *rates, spread, *cpu, str(one["runs"])])
    head = "what | the bound | ours/s | bound/s | ratio | processor µs, ours | the bound's | runs"
    loads = [load for one in parts for load in one["load_average"]]
    busy = f"Load average {min(loads)} to {max(loads)} on {parts[0]['cores']} cores."
    return f"{_table(head, rows)}\n\nMedian, and the ratios of all pairs of runs. {busy}"


def _latency(found: list[Result]) -> str:
    rows = []
    for one in found:
        asked = f"{one['rate']:g}" + (f", {one['sign_ups']:,} sign-ups" if one["sign_ups"] else "")
        refused = f"{one['refused']:,}" + (f", {one['unanswered']:,} unanswered" if one["unanswered"] else "")
        took = [one[name] for name in ("correction_http_ms", "to_last_commit_ms", "bare_ms")]
        shown = [f"{q['p50']['median']:,.0f} / {q['p99']['median']:,.0f}" for q in took]
        ratios = [
            f"{r['median']:.1f} ({r['min']:.1f} to {r['max']:.1f})" for r in map(one["ratio"].get, ("p50", "p99"))
        ]
        spent = f"{sum(one['cpu_ms_a_change'].values()):.0f}"
        rows.append([asked, f"{one['accepted_per_s']['median']:g}", refused, *shown, *ratios, spent])
    head = (
        "changes/s asked for | accepted/s | refused | HTTP p50 / p99 ms | 2xx to last COMMIT | bare path "
        "| ratio of p50 | ratio of p99 | processor ms a change"
    )
    loads = [load for one in found for load in one["load_average"]]
    busy = f"Load average {min(loads)} to {max(loads)} on {found[0]['cores']} cores."
    told = f"Medians of {found[0]['runs']} runs of {found[0]['seconds']:g} s, and the ratios of all pairs of runs;"
    return f"{_table(head, rows)}\n\n{told} what was refused is of all runs together. {busy}"


def _growth(growth: Result) -> str:
    rows = [
        [f"{text}: {p['at']:,}", f"{p['per_s']:,}", f"{p['cpu_us_per_event']:,}", f"{p['resident_mib']:.0f}"]
        for question, text in QUESTIONS.items()
        if question in growth and question != "history"
        for p in growth[question]["points"]
    ]
    return _table("| changes/s | processor µs a change | MiB a process", rows) + _loads(growth)


def _plans(growth: Result) -> str:
    points = growth["members"]["points"]
    names = list(points[0]["blocks_per_member"])
    rows = [[f"{p['at']:,}", *(f"{p['blocks_per_member'][name]:.1f}" for name in names)] for p in points]
    return _table(" | ".join(["members", *(f"`{name}`" for name in names)]), rows)


def _history(growth: Result) -> str:
    rows = []
    if "history" not in growth:
        return "Not measured yet."
    for p in growth["history"]["points"]:
        counts = [f"{p['rows'][name]:,}" for name in ("member", "watermark", "gap", "parked")]
        figures = [f"{p['per_s']:,}", f"{p['resident_mib']:.0f}", *counts, f"{p['bytes'] / 2**20:.1f}"]
        rows.append([f"{p['at']:,}", *figures])
    return _table(
        "changes so far | changes/s | MiB | members | watermarks | gaps | parked | MiB of the database, outbox and all",
        rows,
    )


def main(write: Callable[[Path, str], int] = Path.write_text) -> int:
    """Write what is made of the kept results."""
    for name, svg in plots().items():
        write(KEPT / name, svg)
    write(PAGE, filled(PAGE.read_text(encoding="utf-8"), tables()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

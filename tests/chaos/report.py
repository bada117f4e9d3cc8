"""Writes docs/reliability.md from the results of runs; nothing in it is written by hand.

The results stand beside the page, so that a later run can be added to them: of one command the last run counts.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.support.servers import REPOSITORY

PAGE = REPOSITORY / "docs" / "reliability.md"
KEPT = REPOSITORY / "docs" / "reliability" / "results.json"
Result = dict[str, Any]
"""What `tests.chaos.run` returns."""
HEAD = """# What faults do to it

Written by `python -m tests.chaos --report` from the results of runs of the chaos harness (`tests/chaos`); no figure is
written by hand. Which test shows which claim: [reliability-tests.md](reliability-tests.md).

A run starts the whole system afresh (one broker, one PostgreSQL, eight processes and the third party), lets members
live at a rate over HTTP, and meanwhile does to it what a seed says: `kill -9`, SIGTERM, SIGSTOP, broker and database
outages, slow, stalled and cut connections (a proxy on every wire), offset commits that are refused, clocks that jump, a
full disk, workers that come and go. Then one oracle, which knows only what HTTP accepted, compares every store, the
third party and the audit log. A seed's faults are a function of the seed: the command beside it runs them again.

Not shown by these runs: the loss of a machine with its page cache (PostgreSQL runs without fsync here), the failover of
a replicated broker, packets lost below TCP, other versions of Python and Kafka, and days instead of minutes.
"""
FOUND = (
    (
        "seed 4",
        "after a broker's return the notices' only worker owned nothing, for good: Faust leaves out an unnamed topic",
        "a worker that owns nothing for 90 s while the broker answers leaves and is started again",
        "`tests/unit/propagator/test_watchdog.py`",
    ),
    (
        "seeds 4, 10",
        "processes started while PostgreSQL recovered or the broker was away ended with status 1",
        "they wait",
        "`tests/integration/runtime/test_postgres.py`, `test_kafka_away.py`",
    ),
    (
        "seed 6",
        "the audit process ended at its start on a full disk, over a file that was right already",
        "it is not written again",
        "`tests/unit/audit/test_notary_key.py`",
    ),
    (
        "seed 7",
        "the notices process ended with status 1 when the broker went away in the second in which Faust starts",
        "it leaves as a propagator does (71) and waits at its next start; the seed above was run again",
        "`tests/unit/propagator/test_ended.py`",
    ),
    (
        "reading, after the slow recovery of seed 8",
        "a relay whose broker hung waited half a minute more for its producer, then left it behind, trying for ever",
        "the producer is torn down after 2 s",
        "`tests/faults/parts/test_outbox.py`",
    ),
    (
        "reading, for a full disk",
        "a log line that could not be written raised out of the loops that outlive outages",
        "the line is lost and counted",
        "`tests/unit/runtime/test_log.py`",
    ),
    (
        "reading, for F16",
        "a relay that is frozen, or whose machine is gone, kept its shards; a client waited for ever on a lost server",
        "a lease ends after a minute of silence, and both sides probe",
        "`tests/faults/parts/test_outbox.py`",
    ),
)
"""What was found, and where it is held since. Add to it; the figures above are of the runs alone."""


def write(results: Path) -> None:
    """Add the results below a folder to those kept; write the page. Raises FileNotFoundError when there are none."""
    found = joined(kept(), [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("*.json")])
    written = page(found)
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(written, encoding="utf-8")


def kept() -> list[Result]:
    """Return the results that the page is made of."""
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else []


def joined(before: Iterable[Result], new: Iterable[Result]) -> list[Result]:
    """Return the last result of each command, in order of seeds."""
    by_command = {one["command"]: one for one in (*before, *new)}
    return sorted(by_command.values(), key=lambda one: (one["plan"]["seed"], one["plan"]["seconds"]))


def page(results: Sequence[Result]) -> str:
    """Return the page for these results."""
    seeds = [one for one in results if not one["plan"]["soak"]]
    soaks = [one for one in results if one["plan"]["soak"]]
    if not seeds:
        raise FileNotFoundError("no results of seeds; run: python -m tests.chaos --seeds 1-20 --minutes 1")
    parts = [HEAD, _together(seeds), _kinds(seeds), _each(seeds)]
    return "\n".join([*parts, *(_soak(one) for one in soaks), _found()])


def _together(seeds: list[Result]) -> str:
    lines = Counter(_sort(line) for one in seeds for line in one["differences"])
    longest = max(seeds, key=lambda one: one["recovery"]["seconds"])["recovery"]
    rows = {
        "seeds": len(seeds),
        "seconds under load and faults": round(sum(one["plan"]["seconds"] for one in seeds)),
        "changes accepted": _sum(seeds, "changes"),
        "members": _sum(seeds, "members"),
        "notices owed to the third party": sum(one["notices"]["owed"] for one in seeds),
        "faults": sum(sum(one["faults"].values()) for one in seeds),
        "kills (processes and servers)": _sum(seeds, "kills"),
        "partitions (cut, stalled, slow)": _sum(seeds, "partitions"),
        "connections cut": _sum(seeds, "connections_cut"),
        "**missing**": lines["missing"],
        "**stale**": lines["stale"],
        "**unexplained**": lines["unexplained"],
        "duplicates: sent again by relays": sum(one["duplicates"]["sent_again_by_relays"] for one in seeds),
        "duplicates: read again by workers": sum(one["duplicates"]["read_again_by_workers"] for one in seeds),
        "duplicates: notices sent again under their id": sum(one["duplicates"]["notices_sent_again"] for one in seeds),
        "notices answered for by a newer one": sum(one["notices"]["overtaken"] for one in seeds),
        "longest recovery after a fault ended": f"{longest['seconds']} s ({longest['after']})",
        "longest propagation under faults": f"{max(one['propagation_s'].get('max', 0) for one in seeds)} s",
        "longest revocation under faults": f"{max(one['revocations_s'].get('max', 0) for one in seeds)} s",
        "machine": seeds[-1]["machine"].rpartition(",")[0],
    }
    return _table(("all seeds together", ""), [(name, str(value)) for name, value in rows.items()])


def _sort(line: str) -> str:
    if "missing" in line or "unanswered" in line:
        return "missing"
    return "stale" if "differ" in line else "unexplained"


def _sum(seeds: list[Result], name: str) -> int:
    return sum(int(one[name]) for one in seeds)


def _kinds(seeds: list[Result]) -> str:
    done: Counter[str] = sum((Counter(one["faults"]) for one in seeds), Counter())
    left_out: Counter[str] = sum((Counter(one["left_out"]) for one in seeds), Counter())
    rows = [(name, str(count)) for name, count in sorted(done.items())]
    return _table(("fault", "times"), rows + [(f"{name}, not possible here", str(n)) for name, n in left_out.items()])


def _each(seeds: list[Result]) -> str:
    head = (
        "seed",
        "changes",
        "faults",
        "kills",
        "p50 s",
        "p99 s",
        "max s",
        "revocations max s",
        "recovery s",
        "load average",
        "differences",
    )
    rows = [
        (
            f"`{one['command'].removeprefix('python -m tests.chaos ')}`",
            str(one["changes"]),
            str(sum(one["faults"].values())),
            str(one["kills"]),
            *(str(one["propagation_s"].get(name, "")) for name in ("p50", "p99", "max")),
            str(one["revocations_s"].get("max", "")),
            str(one["recovery"]["seconds"]),
            one["machine"].rpartition(" ")[2],
            str(len(one["differences"])),
        )
        for one in seeds
    ]
    told = (
        "Propagation is from the 2xx of a change until the ledger knows that every affiliate has answered, so the way "
        "back of the receipt and the looks of the harness (every half second) are in it. The load average "
        "(5 min) is the whole machine's: far above 2 something else was running on it.\n"
    )
    return f"## Each seed\n\n{told}\n{_table(head, rows)}"


def _soak(one: Result) -> str:
    plan = one["plan"]
    told = (
        f"{plan['seconds'] / 60:g} minutes at {plan['rate']:g} changes/s asked for, {one['changes_per_s']} accepted "
        f"({one['changes']} changes), {sum(one['faults'].values())} faults; {len(one['differences'])} differences; "
        f"at most {one['lag_max']} changes unanswered, {one['lag_end']} in the end. {one['machine']}. "
        f"No process is killed in a soak: its memory is looked at from its beginning to its end.\n"
    )
    rows = [
        (name, str(m["first_mb"]), str(m["last_mb"]), str(m["mb_per_hour"]))
        for name, m in sorted(one["memory"].items())
    ]
    return f"## Soak: `{one['command']}`\n\n{told}\n{_table(('process', 'first MB', 'last MB', 'MB/h'), rows)}"


def _found() -> str:
    return f"## Found and mended\n\n{_table(('found by', 'what', 'now', 'held by'), list(FOUND))}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

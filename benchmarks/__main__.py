"""`python -m benchmarks COMMAND [options]`: measure, print a table, and one JSON line on stdout."""

import argparse
import asyncio
import sys
from types import ModuleType
from typing import NamedTuple

import orjson

from benchmarks import (
    allocations,
    apply,
    audit,
    dead,
    erase,
    footprint,
    growth,
    harness,
    http,
    latency,
    notices,
    peers,
    query,
    relay,
    replay,
)
from benchmarks.fetched import NotInstalledError
from services.runtime.start import collect_seldom


class Option(NamedTuple):
    """A parameter of a module's `measure`, with its default; the default's type is the option's."""

    default: float | str
    help: str
    choices: tuple[str, ...] | None = None


class Command(NamedTuple):
    """A module with `measure(**options)` and `table(result)`."""

    module: ModuleType
    help: str
    options: dict[str, Option]
    compared: bool = False
    """Measured beside its bound by the harness: takes --runs, and is gated."""
    repeated: bool = False
    """Takes --runs; nothing of it is gated."""
    counted: bool = False
    """Nothing but counters: takes --gate and --record."""


COMMANDS = {
    "apply": Command(
        apply,
        "three affiliates' propagators work off a backlog, beside the bare SQL of the same topology",
        {
            "events": Option(24_000, "changes, each to every affiliate"),
            "members": Option(6_000, "whose changes they are"),
        },
        compared=True,
    ),
    "peers": Command(
        peers,
        "the same changes by Quix Streams' PostgreSQL sink and Debezium's JDBC sink, fetched when first asked for "
        "(pip, Maven) into .dongui and no dependency of ours",
        {
            "events": Option(24_000, "changes, each to every affiliate"),
            "members": Option(6_000, "whose changes they are"),
            "peer": Option("all", "one that cannot be installed fails when asked for by name", ("all", *peers.PEERS)),
        },
        repeated=True,
    ),
    "growth": Command(
        growth,
        "what grows with members, affiliates, workers and history: rate, memory, blocks read",
        {
            "events": Option(6_000, "changes at each point, two of each of half as many members"),
            "full": Option(0, "1: 1,000,000 members too"),
            "question": Option("all", "what grows", ("all", *growth.QUESTIONS)),
        },
    ),
    "latency": Command(
        latency,
        "from HTTP 2xx of a change to the last affiliate's COMMIT, beside the bare path",
        {
            "rate": Option(50.0, "changes a second"),
            "seconds": Option(20.0, "how long each run is"),
            "sign-up-every": Option(5, "one change in so many is a sign-up; 0: none"),
        },
        repeated=True,
    ),
    "footprint": Command(
        footprint,
        "processor time and bytes of one sign-up and one later change",
        {
            "members": Option(500, "sign-ups"),
            "changes": Option(2000, "later changes of these members"),
        },
    ),
    "allocations": Command(
        allocations,
        "how often one event calls the allocator in our own code, counted by Memray (fetched when first asked for)",
        {"events": Option(1000, "events on each path, an even number")},
        counted=True,
    ),
    "notices": Command(
        notices,
        "notices told to living third parties, beside a bare process that inserts, posts and marks them",
        {
            "notices": Option(2_000, "notices in each run"),
            "receivers": Option(20, "third parties"),
        },
        compared=True,
    ),
    "dead": Command(
        dead,
        "do dead third parties slow the living?",
        {
            "notices": Option(10_000, "notices in each run"),
            "rate": Option(100.0, "notices a second"),
            "receivers": Option(50, "third parties"),
            "dead": Option(10, "how many of them are dead in the second run"),
        },
    ),
    "erase": Command(
        erase,
        "members destroyed, from the order to the last key's shred, beside bare consumers; then kills and a search",
        {"members": Option(200, "how many in each run")},
        compared=True,
    ),
    "query": Command(
        query,
        "each filter of the audit log over many entries, beside the same SQL alone; the rate of appending",
        {
            "entries": Option(100_000, "how many, about 1 kB each"),
            "repeats": Option(40, "questions per filter in each run"),
        },
        compared=True,
    ),
    "audit": Command(
        audit,
        "leaves appended with what proofs need, beside a bare insert of their rows",
        {"leaves": Option(10_000, "leaves in each run")},
        compared=True,
    ),
    "http": Command(
        http,
        "sign-ups and corrections accepted, beside a bare FastAPI that inserts the same rows",
        {"requests": Option(1000, "requests in each run")},
        compared=True,
    ),
    "relay": Command(
        relay,
        "outbox rows published, marked and counted, beside a raw idempotent produce of the same records",
        {"events": Option(12_000, "outbox rows in each run")},
        compared=True,
    ),
    "replay": Command(
        replay,
        "an affiliate's topic read again, beside a raw consumer that upserts",
        {"events": Option(10_000, "records on the topic")},
        compared=True,
    ),
}


def main() -> int:
    """Run the benchmark that was asked for; 1 when a counter is worse than its baseline and that was to be gated."""
    chosen = vars(_parser().parse_args())
    name, gate, keep = (chosen.pop(key, None) for key in ("command", "gate", "record"))
    command = COMMANDS[name]
    collect_seldom()  # what runs in this process runs as it does in ours, the bound too
    try:
        result = asyncio.run(command.module.measure(**chosen))
    except NotInstalledError as error:
        sys.stderr.write(f"NOT MEASURED: {error}\n")
        return 1
    sys.stderr.write(getattr(command.module, "table", harness.table)(result))
    sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE))
    if keep:
        harness.record(name, result["workload"], result["counters"])
    found = harness.breaches(name, result["workload"], result["counters"]) if gate else []
    sys.stderr.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    least = harness.RUNS_MIN
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.help)
        for option, (default, text, choices) in command.options.items():
            told = f"{text} (default {default})"
            one.add_argument(f"--{option}", type=type(default), default=default, choices=choices, help=told)
        if command.compared or command.repeated:
            one.add_argument(
                "--runs", type=int, default=least, help=f"runs of each side after a warm-up (default {least})"
            )
        if command.compared or command.counted:
            one.add_argument("--gate", action="store_true", help="fail when a counter is worse than baseline.json says")
            one.add_argument("--record", action="store_true", help="write the counters into baseline.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks COMMAND [options]`: measure, print a table, and one JSON line on stdout."""

import argparse
import asyncio
import sys
from types import ModuleType
from typing import NamedTuple

import orjson

from benchmarks import erase, footprint, latency, notices, query


class Option(NamedTuple):
    """A parameter of a module's `measure`, with its default; the default's type is the option's."""

    default: float
    help: str


class Command(NamedTuple):
    """A module with `measure(**options)` and `table(result)`."""

    module: ModuleType
    help: str
    options: dict[str, Option]


COMMANDS = {
    "latency": Command(
        latency,
        "from HTTP 2xx of a sign-up to the last affiliate's COMMIT",
        {
            "rate": Option(50.0, "changes a second, one in five a sign-up"),
            "seconds": Option(60.0, "how long"),
        },
    ),
    "footprint": Command(
        footprint,
        "processor time and bytes of one sign-up and one later change",
        {
            "members": Option(500, "sign-ups"),
            "changes": Option(2000, "later changes of these members"),
        },
    ),
    "notices": Command(
        notices,
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
        "from the order to destroy members to the last trace of them",
        {"members": Option(100, "how many, at least two")},
    ),
    "query": Command(
        query,
        "each filter of the audit log over many entries, and the rate of appending",
        {
            "entries": Option(100_000, "how many, about 1 kB each"),
            "repeats": Option(200, "questions per filter"),
        },
    ),
}


def main() -> int:
    """Run the benchmark that was asked for."""
    chosen = vars(_parser().parse_args())
    command = COMMANDS[chosen.pop("command")]
    result = asyncio.run(command.module.measure(**chosen))
    sys.stderr.write(command.module.table(result))
    sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.help)
        for option, (default, text) in command.options.items():
            one.add_argument(f"--{option}", type=type(default), default=default, help=f"{text} (default {default:g})")
    return parser


if __name__ == "__main__":
    sys.exit(main())

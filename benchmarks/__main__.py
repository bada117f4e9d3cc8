"""`python -m benchmarks latency|erase`: measure, print a table, and one JSON line on stdout."""

import argparse
import asyncio
import sys
from typing import Any

import orjson

from benchmarks import erase, latency


def main() -> int:
    """Run the benchmark that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("latency", help="from HTTP 2xx of a sign-up to the last affiliate's COMMIT")
    one.add_argument("--rate", type=float, default=50, help="sign-ups a second (default 50)")
    one.add_argument("--seconds", type=float, default=60, help="how long (default 60)")
    other = commands.add_parser("erase", help="from the order to destroy members to the last trace of them")
    other.add_argument("--members", type=int, default=100, help="how many, at least two (default 100)")
    chosen = parser.parse_args()
    result, table = _measured(chosen)
    sys.stderr.write(table)
    sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE))
    return 0


def _measured(chosen: argparse.Namespace) -> tuple[dict[str, Any], str]:
    if chosen.command == "erase":
        erased = asyncio.run(erase.measure(max(2, chosen.members)))
        return erased, erase.table(erased)
    found = asyncio.run(latency.measure(chosen.rate, chosen.seconds))
    return found, latency.table(found)


if __name__ == "__main__":
    sys.exit(main())

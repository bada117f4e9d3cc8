"""`python -m benchmarks latency|notices [options]`: measure, print a table, and one JSON line on stdout."""

import argparse
import asyncio
import sys

import orjson

from benchmarks import latency, notices


def main() -> int:
    """Run the benchmark that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("latency", help="from HTTP 2xx of a sign-up to the last affiliate's COMMIT")
    one.add_argument("--rate", type=float, default=50, help="changes a second, one in five a sign-up (default 50)")
    one.add_argument("--seconds", type=float, default=60, help="how long (default 60)")
    two = commands.add_parser("notices", help="do dead third parties slow the living?")
    two.add_argument("--notices", type=int, default=10_000, help="how many in each run (default 10000)")
    two.add_argument("--rate", type=float, default=100, help="notices a second (default 100)")
    two.add_argument("--receivers", type=int, default=50, help="third parties (default 50)")
    two.add_argument("--dead", type=int, default=10, help="how many of them are dead in the second run (default 10)")
    chosen = parser.parse_args()
    if chosen.command == "latency":
        result = asyncio.run(latency.measure(chosen.rate, chosen.seconds))
        sys.stderr.write(latency.table(result))
    else:
        result = asyncio.run(notices.measure(chosen.notices, chosen.rate, chosen.receivers, chosen.dead))
        sys.stderr.write(notices.table(result))
    sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE))
    return 0


if __name__ == "__main__":
    sys.exit(main())

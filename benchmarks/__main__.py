"""`python -m benchmarks latency|query`: measure, print a table on stderr, and one JSON line on stdout."""

import argparse
import asyncio
import sys

import orjson

from benchmarks import latency, query


def main() -> int:
    """Run the benchmark that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("latency", help="from HTTP 2xx of a sign-up to the last affiliate's COMMIT")
    one.add_argument("--rate", type=float, default=50, help="sign-ups a second (default 50)")
    one.add_argument("--seconds", type=float, default=60, help="how long (default 60)")
    two = commands.add_parser("query", help="each filter of the audit log over N entries, and the rate of appending")
    two.add_argument("--entries", type=int, default=100_000, help="how many (default 100000; about 1 kB each)")
    two.add_argument("--repeats", type=int, default=200, help="questions per filter (default 200)")
    chosen = parser.parse_args()
    if chosen.command == "query":
        result = asyncio.run(query.measure(chosen.entries, chosen.repeats))
        sys.stderr.write(query.table(result))
    else:
        result = asyncio.run(latency.measure(chosen.rate, chosen.seconds))
        sys.stderr.write(latency.table(result))
    sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE))
    return 0


if __name__ == "__main__":
    sys.exit(main())

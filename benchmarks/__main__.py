"""`python -m benchmarks latency [--rate N] [--seconds N]`: measure, print a table, and one JSON line on stdout."""

import argparse
import asyncio
import sys

import orjson

from benchmarks import latency


def main() -> int:
    """Run the benchmark that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("latency", help="from HTTP 2xx of a sign-up to the last affiliate's COMMIT")
    one.add_argument("--rate", type=float, default=50, help="changes a second, one in five a sign-up (default 50)")
    one.add_argument("--seconds", type=float, default=60, help="how long (default 60)")
    chosen = parser.parse_args()
    result = asyncio.run(latency.measure(chosen.rate, chosen.seconds))
    sys.stderr.write(latency.table(result))
    sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE))
    return 0


if __name__ == "__main__":
    sys.exit(main())

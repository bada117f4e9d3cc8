"""`python -m tests.chaos`: run seeds, run a soak, write the report. Status 1 when the oracle found a difference.

python -m tests.chaos --seed 7 --minutes 2              one seed, on a fresh system
python -m tests.chaos --seeds 1-20 --minutes 1          each on a fresh system
python -m tests.chaos --soak --minutes 30               twice the rated load, processes live throughout
python -m tests.chaos --seed 7 --minutes 2 --schedule   print the faults only
python -m tests.chaos --report                          docs/reliability.md, with what is below --results
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import uvloop

from tests.chaos import report
from tests.chaos.run import Plan, run
from tests.chaos.schedule import schedule
from tests.support.servers import REPOSITORY

RATED = 20.0
"""Changes per second that this machine (two cores, broker, databases, processes and client on it) is rated for."""
SEED_RATE = 8.0
APART = "DONGUI_CHAOS_APART"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.chaos", description="faults by seed, under load, against one oracle")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", help="a range such as 1-20")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--rate", type=float, help=f"changes/s; {SEED_RATE:g}, in a soak {2 * RATED:g}")
    parser.add_argument("--soak", action="store_true")
    parser.add_argument("--schedule", action="store_true", help="print the faults and do nothing")
    parser.add_argument("--report", action="store_true", help="write docs/reliability.md")
    parser.add_argument("--results", type=Path, default=REPOSITORY / ".dongui" / "chaos")
    return parser.parse_args()


def _seeds(arguments: argparse.Namespace) -> range:
    if not arguments.seeds:
        return range(arguments.seed, arguments.seed + 1)
    first, _, last = arguments.seeds.partition("-")
    return range(int(first), int(last or first) + 1)


def _alone() -> None:
    """As root: go on in a mount namespace of our own, so that the disk we make ends with us, whatever ends us."""
    if os.geteuid() == 0 and shutil.which("unshare") and APART not in os.environ:
        os.environ[APART] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, "-m", "tests.chaos", *sys.argv[1:]])


def say(line: str) -> None:
    """Tell the operator."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Do what was asked for."""
    arguments = _arguments()
    seconds = arguments.minutes * 60
    if arguments.report:
        report.write(arguments.results)
        return 0
    if arguments.schedule:
        print("\n".join(str(fault) for fault in schedule(arguments.seed, seconds)))
        return 0
    _alone()
    rate = arguments.rate or (2 * RATED if arguments.soak else SEED_RATE)
    results = [_one(Plan(s, seconds, rate, arguments.soak), arguments.results) for s in _seeds(arguments)]
    failed = [found["command"] for found in results if found["differences"]]
    for command in failed:
        say(f"FAILED; again with: {command}")
    return int(bool(failed))


def _one(plan: Plan, results: Path) -> dict[str, Any]:
    name = f"{'soak' if plan.soak else 'seed'}-{plan.seed:04}"
    found = uvloop.run(run(plan, results / f"{name}.log", say))
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    say(json.dumps({k: v for k, v in found.items() if k != "memory"}, ensure_ascii=False))
    return found


if __name__ == "__main__":
    sys.exit(main())

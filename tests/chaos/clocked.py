"""Runs one of our processes with a clock that can be set from outside: `python -m tests.chaos.clocked FILE MODULE …`.

The product asks one function for the time (services.runtime.clock); here that function adds the seconds in FILE.
Intervals are measured by the monotonic clock, which a jump does not move, as on a real machine.
"""

import mmap
import runpy
import struct
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from services.runtime import clock

FORMAT = struct.Struct("<d")


def set_ahead(file: Path, seconds: float) -> None:
    """Set the clock of the process that runs with `file` this far ahead of the machine's (behind when negative)."""
    with file.open("r+b") as opened:
        opened.write(FORMAT.pack(seconds))


def create(file: Path) -> None:
    """Make the file of a clock that is right."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(FORMAT.pack(0.0))


def main() -> None:
    """Set the clock up, then become the module."""
    with Path(sys.argv[1]).open("rb") as opened:
        ahead = mmap.mmap(opened.fileno(), FORMAT.size, access=mmap.ACCESS_READ)

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=FORMAT.unpack(ahead[:])[0])

    clock.utc_now = now
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

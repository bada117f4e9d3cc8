"""The clock of a process is set from outside while it runs, and it reads the time as all our code does."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

from tests.chaos import clocked
from tests.support.servers import REPOSITORY

MODULE = """
import sys
from services.runtime.clock import utc_now
for _ in sys.stdin:
    print(utc_now().isoformat(), flush=True)
"""


def test_a_clock_is_set_while_its_process_runs(tmp_path: Path) -> None:
    (tmp_path / "tells.py").write_text(MODULE)
    file = tmp_path / "clock"
    clocked.create(file)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.clocked", str(file), "tells"],
        env={"PYTHONPATH": f"{REPOSITORY}:{tmp_path}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def told() -> datetime:
            process.stdin.write("\n")
            process.stdin.flush()
            return datetime.fromisoformat(process.stdout.readline().strip())

        first = told()
        clocked.set_ahead(file, 3600.0)
        ahead = told()
        clocked.set_ahead(file, -20.0)
        behind = told()
        process.stdin.close()
    assert 3600 <= (ahead - first).total_seconds() < 3660
    assert behind < first

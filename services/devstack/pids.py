"""Who a process is: a pid alone is reused by the system, a pid with its start time is not."""

import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

POLL_S = 0.05


@dataclass(frozen=True)
class ProcessRecord:
    """A process we started: `identity` is its start time, so a reused pid never matches."""

    name: str
    pid: int
    identity: str

    def alive(self) -> bool:
        """Say whether this very process still runs (a zombie does not)."""
        return identity_of(self.pid) == self.identity

    def signal(self, number: int) -> bool:
        """Signal it if it is still itself; say whether it was."""
        if not self.alive():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def end(self, timeout_s: float) -> bool:
        """SIGTERM, then SIGKILL after `timeout_s`; wait until it is gone. Say whether it was running."""
        if not self.signal(signal.SIGTERM):
            return False
        if not self._gone_within(timeout_s):
            self.signal(signal.SIGKILL)
            self._gone_within(timeout_s)
        return True

    def _gone_within(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self.alive() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return not self.alive()


def identity_of(pid: int) -> str | None:
    """Return the start time of a live process in an opaque form, or None when there is no such process."""
    if Path("/proc/self/stat").exists():
        return _identity_by_proc(pid)
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def _identity_by_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else f"{boot}:{fields[19]}"


def record(run_dir: Path, name: str, pid: int) -> ProcessRecord:
    """Write `<run_dir>/<name>.pid.json` for a process that was just started."""
    made = ProcessRecord(name, pid, identity_of(pid) or "gone")
    path = run_dir / f"{name}.pid.json"
    path.write_bytes(orjson.dumps(asdict(made)))
    return made


def read(run_dir: Path, name: str) -> ProcessRecord | None:
    """Return the record of that name, or None when there is none or it is not readable as one."""
    try:
        return ProcessRecord(**orjson.loads((run_dir / f"{name}.pid.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def read_all(run_dir: Path) -> list[ProcessRecord]:
    """Return every readable record of a run directory."""
    names = [p.name.removesuffix(".pid.json") for p in run_dir.glob("*.pid.json")]
    return [r for r in (read(run_dir, name) for name in sorted(names)) if r]


def forget(run_dir: Path, name: str) -> None:
    """Remove a record; harmless when there is none."""
    (run_dir / f"{name}.pid.json").unlink(missing_ok=True)

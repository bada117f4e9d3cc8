"""What a running system leaves on disk for others: who supervises it, where it is, what it said.

The lock is held by the supervisor for life (the kernel lets go of it at `kill -9`); the described state is written when
every process is ready, and names the supervisor, so that a stale file is never taken for a running system.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from services.devstack import account, pids
from services.devstack.errors import AlreadyRunningError, DevstackError
from services.devstack.keyfiles import write_private
from services.devstack.pids import ProcessRecord

SUPERVISOR = "supervisor"
END_TIMEOUT_S = 30.0
SERVERS = ("kafka", "postgres")


@dataclass(frozen=True)
class State:
    """Files of one data directory."""

    base_dir: Path

    @property
    def run_dir(self) -> Path:
        """Where the pid records are."""
        return self.base_dir / "run"

    @property
    def log(self) -> Path:
        """The supervisor's own log."""
        return self.base_dir / "log" / "supervisor.log"

    @property
    def _described(self) -> Path:
        return self.base_dir / "secrets" / "system.json"

    def supervisor(self) -> ProcessRecord | None:
        """Return the supervisor when it is alive."""
        found = pids.read(self.run_dir, SUPERVISOR)
        return found if found and found.alive() else None

    def write(self, described: dict[str, Any], owner_dsns: dict[str, str]) -> None:
        """Tell the others that the system is ready."""
        content = {"supervisor": os.getpid(), "described": described, "owner_dsns": owner_dsns}
        write_private(self._described, orjson.dumps(content))

    def read(self) -> dict[str, Any] | None:
        """Return what was written last, running or not; None when there is nothing readable."""
        try:
            found = orjson.loads(self._described.read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and "described" in found else None

    def described(self) -> dict[str, Any]:
        """Return `dongui dev env` of the running system; raise DevstackError when it is not running or not ready."""
        running, found = self.supervisor(), self.read()
        if running is None:
            raise DevstackError(f"no system runs on {self.base_dir}; start one: dongui dev up")
        if found is None or found["supervisor"] != running.pid:
            raise DevstackError(f"the system on {self.base_dir} is still starting; see {self.log}")
        described: dict[str, Any] = found["described"]
        return described

    @contextlib.contextmanager
    def supervised(self) -> Iterator[None]:
        """Be the supervisor of this directory while the block runs; raise AlreadyRunningError when another is."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        with (self.run_dir / "supervisor.lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunningError(self.busy()) from None
            self.end_leftovers()
            pids.record(self.run_dir, SUPERVISOR, os.getpid())
            try:
                yield
            finally:
                pids.forget(self.run_dir, SUPERVISOR)

    def busy(self) -> str:
        """Return what to tell who finds another supervisor here."""
        running = self.supervisor()
        who = f" (pid {running.pid})" if running else ""
        return f"a system already runs on {self.base_dir}{who}: dongui dev env shows it, dongui dev down ends it"

    def end_leftovers(self) -> list[str]:
        """End what a killed supervisor left behind, servers last; return the names of what was still running.

        A record whose pid now belongs to another program is only forgotten.
        """
        records = [r for r in pids.read_all(self.run_dir) if r.name != SUPERVISOR]
        ended = []
        for record in sorted(records, key=lambda r: r.name.startswith(SERVERS)):
            if record.end(END_TIMEOUT_S):
                ended.append(record.name)
            pids.forget(self.run_dir, record.name)
        return ended

    def down(self) -> bool:
        """End the system, whatever is left of it; say whether anything was running."""
        running = self.supervisor()
        if running:
            running.end(END_TIMEOUT_S)
            pids.forget(self.run_dir, SUPERVISOR)
        return bool(self.end_leftovers()) or running is not None

    def reset(self) -> None:
        """End the system and remove its data, also what lies outside the directory; downloaded jars stay."""
        self.down()
        for copy in account.copies(self.base_dir):
            shutil.rmtree(copy, ignore_errors=True)
        for path in self.base_dir.glob("*"):
            if path.name == "jars":
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

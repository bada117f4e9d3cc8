"""Child processes on a leash: in a session of their own (Ctrl-C reaches only us), and they end when we end.

Linux ends them by PR_SET_PDEATHSIG, which survives even `kill -9` of the parent. The setting belongs to the
thread that forked, so children are started from the main thread only.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from services.devstack import pids

PR_SET_PDEATHSIG = 1
LOG_BYTES_MAX = 20 * 1024 * 1024
POLL_S = 0.02
TAIL_LINES = 12


@dataclass(frozen=True)
class Program:
    """What to run: `user` (uid, gid) drops root first; `death_signal` is what it gets when we die."""

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] | None = None
    user: tuple[int, int] | None = None
    death_signal: int = signal.SIGKILL


def spawn(program: Program, run_dir: Path) -> subprocess.Popen[bytes]:
    """Start the program with its output in its log file, and record its pid in `run_dir`."""
    assert threading.current_thread() is threading.main_thread(), "the leash belongs to the forking thread"
    uid, gid = program.user or (None, None)
    with _open_log(program.log) as log:
        child = subprocess.Popen(
            list(program.argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(program.env) if program.env is not None else None,
            cwd="/" if program.user else None,
            start_new_session=True,
            user=uid,
            group=gid,
            extra_groups=[] if program.user else None,
            preexec_fn=_leash(program.death_signal),  # noqa: PLW1509 - prctl is all it does
        )
    pids.record(run_dir, program.name, child.pid)
    return child


async def stop(child: subprocess.Popen[bytes], number: int, timeout_s: float) -> None:
    """Signal the child, wait, and SIGKILL it after `timeout_s`. Returns when it is gone."""
    if child.poll() is None:
        child.send_signal(number)
    deadline = asyncio.get_running_loop().time() + timeout_s
    while child.poll() is None:
        if asyncio.get_running_loop().time() > deadline:
            child.kill()
        await asyncio.sleep(POLL_S)


def tail(log: Path) -> str:
    """Return the last lines of a log file for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
    except OSError:
        return ""


def _open_log(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def _leash(number: int) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def put_on() -> None:
        prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)

    return put_on

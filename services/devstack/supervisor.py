"""Keeps one system running until it is told to stop: `dongui dev up`, in the foreground or detached.

A process that ends by itself is started again, with a growing pause, and so is one of several Kafka nodes. PostgreSQL,
a lone Kafka or most of its nodes take the system down when they end: their data is whole, and the next start finds it.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.devstack.environment import CANARY_S, PROPAGATORS
from services.devstack.errors import DevstackError
from services.devstack.stack import to_stderr
from services.devstack.state import State
from services.devstack.system import System

PORT_BASE = 8800
LOOK_S = 0.5
BACKOFF_S_MIN, BACKOFF_S_MAX = 1.0, 30.0
STEADY_S = 60.0
FOLLOW_S = 0.05
EXIT_SERVER_LOST = 1

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What `dongui dev up` was asked for."""

    data_dir: Path
    port_base: int = PORT_BASE
    brokers: int = 1
    secure: bool = False

    def argv(self) -> list[str]:
        """Return the command that runs the supervisor with these options."""
        place = ["--data-dir", str(self.data_dir.absolute()), "--port-base", str(self.port_base)]
        return [sys.executable, "-m", "services.devstack.supervisor", *place, *self._kafka()]

    def _kafka(self) -> list[str]:
        return ["--brokers", str(self.brokers), *(["--secure"] if self.secure else [])]


@dataclass
class _Restarts:
    """When each fallen process may start again."""

    pause_s: dict[str, float] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)

    def fell(self, name: str, now: float) -> float | None:
        """Note that a process is down; return the pause before its next start when it is newly down."""
        if name in self.due:
            return None
        steady = now - self.started.get(name, float("-inf")) > STEADY_S
        pause = BACKOFF_S_MIN if steady else min(self.pause_s.get(name, BACKOFF_S_MIN) * 2, BACKOFF_S_MAX)
        self.pause_s[name], self.due[name] = pause, now + pause
        return pause

    def may_start(self, name: str, now: float) -> bool:
        """Say whether the pause is over; if so the start is noted."""
        if now < self.due[name]:
            return False
        del self.due[name]
        self.started[name] = now
        return True


async def supervise(options: Options, say: Say) -> int:
    """Run the system until SIGINT or SIGTERM; return the exit status. Raises DevstackError when it cannot start."""
    state = State(options.data_dir.absolute())
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with state.supervised():
        extra = {name: {"DONGUI_CANARY_INTERVAL_S": str(CANARY_S)} for name in ("consent", *PROPAGATORS)}
        system = System(
            state.base_dir,
            port_base=options.port_base,
            brokers=options.brokers,
            say=say,
            secure=options.secure,
            extra=extra,
        )
        try:
            if not await _started(system, stop):
                return 0
            state.write(system.described(), system.installation.owner_dsns())
            say("Ready.")
            return await _watch(system, stop, say)
        finally:
            say("Stopping ...")
            await system.stop()


async def _started(system: System, stop: asyncio.Event) -> bool:
    """Start the system; False when a signal came first."""
    starting, stopping = asyncio.ensure_future(system.start()), asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return False
    await starting
    return True


async def _watch(system: System, stop: asyncio.Event, say: Say) -> int:
    restarts = _Restarts()
    while not stop.is_set():
        if not system.servers_running():
            say(f"Kafka or PostgreSQL ended; see {system.base_dir / 'log'}. Stopping; start again: dongui dev up")
            return EXIT_SERVER_LOST
        _restart_fallen(system, restarts, say)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_S)
    return 0


def _restart_fallen(system: System, restarts: _Restarts, say: Say) -> None:
    now = time.monotonic()
    for name in system.fallen():
        pause = restarts.fell(name, now)
        if pause is not None:
            say(f"{name} ended; starting it again in {pause:.0f} s (log/{name}.log)")
        if restarts.may_start(name, now):
            system.start_process(name)


def detach(options: Options, say: Say) -> dict[str, Any]:
    """Start a supervisor in the background, pass on what it says, and return the described system once it is ready.

    Raises DevstackError when it ends first; it has said why.
    """
    state = State(options.data_dir.absolute())
    state.log.parent.mkdir(parents=True, exist_ok=True)
    with state.log.open("ab") as log:
        said = log.tell()
        process = subprocess.Popen(
            options.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        return _followed(state, process, said, say)
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _followed(state: State, process: "subprocess.Popen[bytes]", said: int, say: Say) -> dict[str, Any]:
    with state.log.open(errors="replace") as lines:
        lines.seek(said)
        while True:
            ended = process.poll() is not None
            for line in lines:
                say(line.rstrip("\n"))
            found = state.read()
            if found and found["supervisor"] == process.pid and state.supervisor():
                described: dict[str, Any] = found["described"]
                return described
            if ended:
                raise DevstackError(f"the system did not start; see {state.log}")
            time.sleep(FOLLOW_S)


def run(options: Options, say: Say = to_stderr) -> int:
    """Supervise on this thread until told to stop; tell a DevstackError without a traceback. Return the status."""
    try:
        return asyncio.run(supervise(options, say))
    except DevstackError as error:
        say(str(error))
        return 1


def main() -> int:
    """`python -m services.devstack.supervisor`: what `dev up --detach` starts."""
    parser = argparse.ArgumentParser(prog="services.devstack.supervisor")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port-base", type=int, default=PORT_BASE)
    parser.add_argument("--brokers", type=int, default=1)
    parser.add_argument("--secure", action="store_true")
    chosen = parser.parse_args()
    return run(Options(chosen.data_dir, chosen.port_base, chosen.brokers, chosen.secure))


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())

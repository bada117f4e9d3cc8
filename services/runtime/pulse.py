"""Liveness of the loops in a process: each says when it comes round, whether work waits for it, and when it got on.

A loop that hangs is stalled, and so is one for which work waits and that does not get on. `/livez` says so; a process
that stays stalled leaves by itself, for where nobody asks.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final

import structlog
from prometheus_client import Gauge

STALL_S: Final = 120.0
EXIT_S: Final = 300.0
LOOK_S: Final = 5.0

STALLED_S = Gauge("dongui_loop_stalled_seconds", "Seconds a loop has hung, or has not got on with what waits", ["loop"])
log = structlog.get_logger("pulse")


class StalledError(Exception):
    """A loop of this process makes no progress; only a new start can help."""


class Pulse:
    """One loop's signs of life. `waits` None: whether work waits is not known, what was known stands."""

    def __init__(self, loop: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.loop = loop
        self._monotonic = monotonic
        self._turned_at = monotonic()
        self._moved_at = monotonic()
        self._waits_since: float | None = None

    def turn(self, *, waits: bool | None = None) -> None:
        """Say that the loop came round, and whether work waits for it."""
        self._turned_at = self._monotonic()
        if waits is None:
            return
        if not waits:
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = self._turned_at

    def moved(self) -> None:
        """Say that the loop did some of its work for good."""
        self._turned_at = self._moved_at = self._monotonic()

    def stalled_s(self) -> float:
        """Return for how long the loop has not come round, or not got on with what waits; the longer of the two."""
        now = self._monotonic()
        idle = 0.0 if self._waits_since is None else now - max(self._waits_since, self._moved_at)
        return max(now - self._turned_at, idle)


_running: set[Pulse] = set()


@contextlib.contextmanager
def of(loop: str) -> Iterator[Pulse]:
    """Watch a loop while the block runs."""
    pulse = Pulse(loop)
    _running.add(pulse)
    try:
        yield pulse
    finally:
        _running.discard(pulse)


def stalled(after_s: float = STALL_S) -> list[str]:
    """Return the loops of this process that have been stalled for `after_s` seconds."""
    return sorted({pulse.loop for pulse in _running if pulse.stalled_s() >= after_s})


async def guard(stop: asyncio.Event) -> None:
    """Keep the metric current until `stop`; raise StalledError for a loop that only a new start can help."""
    while not stop.is_set():
        for pulse in _running:
            seconds = pulse.stalled_s()
            STALLED_S.labels(pulse.loop).set(seconds if seconds >= STALL_S else 0)
        if lost := stalled(EXIT_S):
            log.error("process_stalled", loops=lost)
            raise StalledError(", ".join(lost))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_S)

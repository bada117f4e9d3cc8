"""Who is served now: one sender per endpoint, started and ended as the rows of `endpoint` change.

So a third party that is added, moved, paused or given another secret is so within seconds, without a restart.
"""

import asyncio
import contextlib
import dataclasses
from typing import Final

import structlog

from services.propagator.notices.endpoints import Endpoint
from services.propagator.notices.registry import Registry
from services.propagator.notices.sender import Sender
from services.runtime.postgres import DATABASE_ERRORS

LOOK_S: Final = 2.0
log = structlog.get_logger("notices")


async def run(sender: Sender, registry: Registry, known: dict[str, Endpoint], stop: asyncio.Event) -> None:
    """Serve until `stop` what is registered; `known` is kept as what may be told now. A sender's error ends all."""
    serving: dict[Endpoint, _Post] = {}
    ending: set[asyncio.Task[None]] = set()
    try:
        while not stop.is_set():
            wanted = set(known.values())
            ending |= {serving.pop(endpoint).end() for endpoint in serving.keys() - wanted}
            serving |= {endpoint: _Post(sender, endpoint) for endpoint in wanted - serving.keys()}
            await _pause(stop, {post.task for post in serving.values()} | ending)
            ending = {task for task in ending if not task.done()}
            await refresh(registry, known)
    finally:
        await asyncio.gather(*ending, *(post.end() for post in serving.values()))


async def refresh(registry: Registry, known: dict[str, Endpoint]) -> None:
    """Bring `known` up to date in place; when the database is away it stays as it is."""
    try:
        found = await registry.active()
    except DATABASE_ERRORS as error:
        log.warning("notices_database_unavailable", error=type(error).__name__)
        return
    for gone in known.keys() - found.keys():
        del known[gone]
    known |= found


class _Post:
    """One endpoint's sender at work, with a stop of its own."""

    def __init__(self, sender: Sender, endpoint: Endpoint) -> None:
        self._stop = asyncio.Event()
        alone = dataclasses.replace(sender, endpoints={endpoint.recipient: endpoint})
        self.task = asyncio.create_task(alone.run(self._stop))

    def end(self) -> asyncio.Task[None]:
        """Ask it to end; what is being sent has a moment."""
        self._stop.set()
        return self.task


async def _pause(stop: asyncio.Event, tasks: set[asyncio.Task[None]]) -> None:
    """Wait a moment or for `stop`; raise what a sender raised."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), LOOK_S)
    for task in tasks:
        if task.done():
            task.result()

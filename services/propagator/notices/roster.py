"""Who is served now: the sender is begun anew with the endpoints of the rows whenever these change.

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
    serving = _Round(sender, known)
    ending: set[asyncio.Task[None]] = set()
    try:
        while not stop.is_set():
            await _pause(stop, {serving.task} | ending)
            ending = {task for task in ending if not task.done()}
            await refresh(registry, known)
            if known != serving.endpoints:
                # The next begins while what is on its way ends: a leased notice is claimed by nobody else.
                ending.add(serving.end())
                serving = _Round(sender, known)
    finally:
        await asyncio.gather(*ending, serving.end())


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


class _Round:
    """A sender at work for the endpoints of one moment, with a stop of its own."""

    def __init__(self, sender: Sender, endpoints: dict[str, Endpoint]) -> None:
        self.endpoints = dict(endpoints)
        self._stop = asyncio.Event()
        self.task = asyncio.create_task(dataclasses.replace(sender, endpoints=self.endpoints).run(self._stop))

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

"""Sends what is due: one lane per third party, so that a slow or dead one keeps nobody else waiting.

One scout asks the database for whom something is due and wakes those lanes; a lane whose sends end with more left
claims on at once. What one lane may have in flight is its limit, or its circuit's when the third party fails.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from prometheus_client import Counter, Gauge

from services.propagator.notices import circuit, store
from services.propagator.notices.attempt import Attempts
from services.propagator.notices.circuit import Circuit
from services.propagator.notices.endpoints import Channel, Directory, Endpoint
from services.propagator.notices.model import Reply
from services.propagator.notices.store import Job, Lease
from services.runtime.postgres import DATABASE_ERRORS

CLOSE_TIMEOUT_S: Final = 5.0
ERROR_PAUSE_S: Final = 1.0
POLL_S: Final = 0.2
SEND_ERRORS = Counter("dongui_notice_send_errors", "Sends that ended in an error of our own", ["recipient"])
CIRCUIT_OPEN = Gauge("dongui_notice_circuit_open", "1 while a third party that fails is left alone", ["recipient"])
log = structlog.get_logger("notices")


@dataclass(kw_only=True)
class Lane:
    """One third party: how its notices are handled, and what its circuit says."""

    recipient: str
    url: str
    limit: int
    handle: Callable[[Job], Awaitable[Reply | None]]
    circuit: Circuit = field(default_factory=Circuit)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    running: set["asyncio.Task[None]"] = field(default_factory=set)

    def show(self, now: datetime) -> None:
        CIRCUIT_OPEN.labels(self.recipient).set(self.circuit.state(now) != "closed")


class Sender:
    """All lanes. `lease` and `poll_s` are for tests that kill a sender or wait for none."""

    def __init__(
        self, attempts: Attempts, directory: Directory, *, lease: timedelta | None = None, poll_s: float = POLL_S
    ) -> None:
        self._attempts = attempts
        self._lease = lease or attempts.plan.lease
        self._poll_s = poll_s
        webhooks = [self._webhook(endpoint) for endpoint in directory.webhooks.values()]
        manual = [self._manual(name, channel) for name, channel in directory.manual.items()]
        self.lanes: Mapping[str, Lane] = {lane.recipient: lane for lane in (*webhooks, *manual)}

    def _webhook(self, endpoint: Endpoint) -> Lane:
        async def tell(job: Job) -> Reply | None:
            return await self._attempts.tell(endpoint, job)

        limit = endpoint.concurrency or self._attempts.plan.in_flight
        return Lane(recipient=endpoint.recipient, url=endpoint.url, limit=limit, handle=tell)

    def _manual(self, recipient: str, channel: Channel) -> Lane:
        async def leave(job: Job) -> None:
            await self._attempts.leave(channel, job)

        return Lane(recipient=recipient, url=store.NO_URL, limit=self._attempts.plan.in_flight, handle=leave)

    def close_circuit(self, recipient: str) -> None:
        """Ask a third party again at once: staff know that it is back."""
        if lane := self.lanes.get(recipient):
            lane.circuit = Circuit()
            lane.show(self._attempts.clock())
            lane.wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`; what is being sent then has five seconds to end. Raises what ended a lane."""
        lanes = [asyncio.ensure_future(self._serve(lane, stop)) for lane in self.lanes.values()]
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set() and not any(lane.done() for lane in lanes):
                await self._scout()
                await asyncio.wait({stopping, *lanes}, timeout=self._poll_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            await self._end([stopping, *lanes])
        for lane in lanes:
            lane.result()

    async def _end(self, serving: Sequence["asyncio.Future[Any]"]) -> None:
        for lane in self.lanes.values():
            lane.wake.set()
        await asyncio.wait(serving, timeout=CLOSE_TIMEOUT_S)
        sending = {task for lane in self.lanes.values() for task in lane.running}
        if sending:
            await asyncio.wait(sending, timeout=CLOSE_TIMEOUT_S)
        for task in (*serving, *sending):
            task.cancel()
        await asyncio.gather(*serving, *sending, return_exceptions=True)

    async def _scout(self) -> None:
        try:
            found = await store.due(self._attempts.pool, list(self.lanes), self._attempts.clock())
        except DATABASE_ERRORS as error:
            log.warning("notices_database_unavailable", error=type(error).__name__)
            await asyncio.sleep(ERROR_PAUSE_S)
            return
        for recipient in found:
            self.lanes[recipient].wake.set()

    async def _serve(self, lane: Lane, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await lane.wake.wait()
            lane.wake.clear()
            if not stop.is_set():
                await self._claim_and_send(lane)

    async def _claim_and_send(self, lane: Lane) -> None:
        now = self._attempts.clock()
        lane.show(now)
        room = lane.circuit.room(now, len(lane.running), lane.limit)
        jobs = await self._claim(lane, room) if room else []
        if len(jobs) > 1:
            await self._attempts.warm(jobs)
        for job in jobs:
            task = asyncio.ensure_future(self._send(lane, job))
            lane.running.add(task)
            task.add_done_callback(lane.running.discard)
            if len(jobs) == room:  # there may be more: claim on as soon as a place is free
                task.add_done_callback(lambda _: lane.wake.set())

    async def _claim(self, lane: Lane, limit: int) -> list[Job]:
        now = self._attempts.clock()
        lease = Lease(str(uuid.uuid4()), now, now + self._lease)
        try:
            return await store.claim(self._attempts.pool, lane.recipient, lane.url, limit, lease)
        except DATABASE_ERRORS as error:
            log.warning("notices_database_unavailable", error=type(error).__name__)
            await asyncio.sleep(ERROR_PAUSE_S)
            return []

    async def _send(self, lane: Lane, job: Job) -> None:
        try:
            reply = await lane.handle(job)
        except Exception as error:  # noqa: BLE001
            # Whatever went wrong, nothing was recorded: the lease runs out and the same notice is sent again.
            SEND_ERRORS.labels(lane.recipient).inc()
            log.warning("notice_send_error", error=type(error).__name__, recipient=lane.recipient)
            return
        if reply is not None:
            numbers, jitter = self._attempts.plan.circuit, self._attempts.jitter()
            lane.circuit = circuit.after(lane.circuit, reply, self._attempts.clock(), jitter, numbers)

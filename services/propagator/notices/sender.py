"""Sends what is due: one lane per third party, so that a slow or dead one keeps nobody else waiting.

One scout asks the database for whom something is due and wakes those lanes; a lane whose sends end with more left
claims on at once. What one lane may have in flight is its limit, or its circuit's when the third party fails.
"""

import asyncio
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from prometheus_client import Counter, Gauge

from services.propagator.notices import circuit, store
from services.propagator.notices.attempt import Attempts
from services.propagator.notices.circuit import Circuit
from services.propagator.notices.endpoints import Endpoint
from services.propagator.notices.store import Job, Lease
from services.runtime import pulse
from services.runtime.postgres import DATABASE_ERRORS

CLAIM_END_S: Final = 1.0
CLOSE_TIMEOUT_S: Final = 5.0
ERROR_PAUSE_S: Final = 1.0
SEND_ERRORS = Counter("dongui_notice_send_errors", "Sends that ended in an error of our own", ["recipient"])
CIRCUIT_OPEN = Gauge("dongui_notice_circuit_open", "1 while a third party that fails is left alone", ["recipient"])
log = structlog.get_logger("notices")


@dataclass(kw_only=True)
class Lane:
    """One third party: where it is told, what its circuit says, what is on its way to it."""

    endpoint: Endpoint
    circuit: Circuit = field(default_factory=Circuit)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    running: set["asyncio.Task[None]"] = field(default_factory=set)

    def show(self, now: datetime) -> None:
        CIRCUIT_OPEN.labels(self.endpoint.recipient).set(self.circuit.state(now) != "closed")


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Serves its endpoints. `lease` (None = the plan's) is for tests that kill a sender."""

    attempts: Attempts
    endpoints: Mapping[str, Endpoint]
    lease: timedelta | None = None
    poll_s: float = 0.2

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`; what is being sent then has five seconds to end. Raises what ended a lane."""
        lanes = {name: Lane(endpoint=endpoint) for name, endpoint in self.endpoints.items()}
        serving = [asyncio.ensure_future(self._serve(lane, stop)) for lane in lanes.values()]
        stopping = asyncio.ensure_future(stop.wait())
        try:
            with pulse.of("notices") as beat:
                while not stop.is_set() and not any(one.done() for one in serving):
                    beat.turn()
                    await self._scout(lanes)
                    await asyncio.wait({stopping, *serving}, timeout=self.poll_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _ended(lanes.values(), [stopping, *serving])
        for one in serving:
            if one.done() and not one.cancelled():
                one.result()

    async def _scout(self, lanes: Mapping[str, Lane]) -> None:
        try:
            urls = {name: lane.endpoint.url for name, lane in lanes.items()}
            found = await store.due(self.attempts.pool, urls, self.attempts.clock())
        except DATABASE_ERRORS as error:
            log.warning("notices_database_unavailable", error=type(error).__name__)
            await asyncio.sleep(ERROR_PAUSE_S)
            return
        for recipient in found:
            lanes[recipient].wake.set()

    async def _serve(self, lane: Lane, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await lane.wake.wait()
            lane.wake.clear()
            if not stop.is_set():
                await self._claim_and_send(lane)

    async def _claim_and_send(self, lane: Lane) -> None:
        now = self.attempts.clock()
        lane.show(now)
        room = lane.circuit.room(now, len(lane.running), self.attempts.plan.in_flight)
        jobs = await self._claim(lane.endpoint, room) if room else []
        if len(jobs) > 1:
            await self.attempts.warm(jobs)
        for job in jobs:
            task = asyncio.ensure_future(self._send(lane, job))
            lane.running.add(task)
            task.add_done_callback(lane.running.discard)
            if len(jobs) == room:  # there may be more: claim on before the next look
                task.add_done_callback(lambda _: self._claim_on(lane))

    def _claim_on(self, lane: Lane) -> None:
        """Claim again once half the places are free: several at a time cost one statement and one look-up of keys."""
        if len(lane.running) <= self.attempts.plan.in_flight // 2:
            lane.wake.set()

    async def _claim(self, endpoint: Endpoint, limit: int) -> list[Job]:
        now = self.attempts.clock()
        lease = Lease(str(uuid.uuid4()), now, now + (self.lease or self.attempts.plan.lease))
        try:
            return await store.claim(self.attempts.pool, endpoint.recipient, endpoint.url, limit, lease)
        except DATABASE_ERRORS as error:
            log.warning("notices_database_unavailable", error=type(error).__name__)
            await asyncio.sleep(ERROR_PAUSE_S)
            return []

    async def _send(self, lane: Lane, job: Job) -> None:
        try:
            reply = await self.attempts.tell(lane.endpoint, job)
        except Exception as error:  # noqa: BLE001
            # Whatever went wrong, nothing was recorded: the lease runs out and the same notice is sent again.
            SEND_ERRORS.labels(job.recipient).inc()
            log.warning("notice_send_error", error=type(error).__name__, recipient=job.recipient)
            return
        if reply is not None:
            numbers, jitter = self.attempts.plan.circuit, self.attempts.jitter()
            lane.circuit = circuit.after(lane.circuit, reply, self.attempts.clock(), jitter, numbers)


async def _ended(lanes: Collection[Lane], serving: Sequence["asyncio.Future[Any]"]) -> None:
    """Claim nothing more, and give what is being sent a moment."""
    for lane in lanes:
        lane.wake.set()
    await asyncio.wait(serving, timeout=CLAIM_END_S)
    sending = {task for lane in lanes for task in lane.running}
    if sending:
        await asyncio.wait(sending, timeout=CLOSE_TIMEOUT_S)
    for task in (*serving, *sending):
        task.cancel()
    await asyncio.gather(*serving, *sending, return_exceptions=True)

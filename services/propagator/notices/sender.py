"""Sends what is due: one worker per endpoint, so that a slow third party keeps nobody else waiting.

A job is leased while it is being sent. A process that dies between the POST and the record of it leaves the lease
to run out: the same notice is then sent again under the same webhook-id.
"""

import asyncio
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import aiohttp
import asyncpg
import structlog
from prometheus_client import Counter

from schemas import codec
from schemas.codec import CodecError
from schemas.envelope import Envelope, from_headers
from schemas.events import Notice
from schemas.receipts import Stage
from schemas.topics import NOTICES
from services.propagator.keys import ContentKeys, KeyServiceError
from services.propagator.notices import model, outgoing, post, store
from services.propagator.notices.endpoints import Endpoint
from services.propagator.notices.model import Acknowledged, Outcome, Reply, TooLargeError
from services.propagator.notices.signing import Signer
from services.propagator.notices.store import Job, Lease
from services.runtime.clock import Clock
from services.runtime.outbox import Record
from services.runtime.postgres import DATABASE_ERRORS, Connection

IN_FLIGHT: Final = 8
LEASE: Final = timedelta(seconds=60)
"""Longer than looking up a key and one POST with its time-out together."""
KEY_RETRY: Final = timedelta(seconds=5)
CLOSE_TIMEOUT_S: Final = 5.0
ERROR_PAUSE_S: Final = 1.0

ATTEMPTS = Counter("dongui_notice_attempts", "Attempts to tell a third party", ["recipient", "result"])
CLOSED = Counter("dongui_notices_closed", "Notices that need nothing more", ["recipient", "state"])
KEYS_AWAITED = Counter("dongui_notice_keys_unavailable", "Sends put off because the key service gave no answer")
SEND_ERRORS = Counter("dongui_notice_send_errors", "Sends that ended in an error of our own", ["recipient"])
log = structlog.get_logger("notices")


@dataclass(frozen=True, kw_only=True)
class Sender:
    """What sending needs. `nudge` wakes the relay; `jitter` gives 0 to 1; `lease` is for tests that kill a sender."""

    pool: asyncpg.Pool
    keys: ContentKeys
    client: aiohttp.ClientSession
    signer: Signer
    endpoints: Mapping[str, Endpoint]
    clock: Clock
    nudge: Callable[[], None]
    jitter: Callable[[], float] = random.random
    lease: timedelta = LEASE
    poll_s: float = 0.2

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`; what is being sent then has five seconds to end."""
        await asyncio.gather(*(self._serve(endpoint, stop) for endpoint in self.endpoints.values()))

    async def _serve(self, endpoint: Endpoint, stop: asyncio.Event) -> None:
        running: set[asyncio.Task[None]] = set()
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                running = {task for task in running if not task.done()}
                jobs = await self._claim(endpoint, IN_FLIGHT - len(running))
                running |= {asyncio.ensure_future(self._send(endpoint, job)) for job in jobs}
                await asyncio.wait({stopping, *running}, timeout=self.poll_s, return_when=asyncio.FIRST_COMPLETED)
            if running:
                await asyncio.wait(running, timeout=CLOSE_TIMEOUT_S)
        finally:
            for task in {stopping, *running}:
                task.cancel()
            await asyncio.gather(stopping, *running, return_exceptions=True)

    async def _claim(self, endpoint: Endpoint, limit: int) -> list[Job]:
        now = self.clock()
        lease = Lease(str(uuid.uuid4()), now, now + self.lease)
        try:
            return await store.claim(self.pool, endpoint, limit, lease) if limit else []
        except DATABASE_ERRORS as error:
            log.warning("notices_database_unavailable", error=type(error).__name__)
            await asyncio.sleep(ERROR_PAUSE_S)
            return []

    async def _send(self, endpoint: Endpoint, job: Job) -> None:
        try:
            await self._handle(endpoint, job)
        except Exception as error:  # noqa: BLE001
            # Whatever went wrong, nothing was recorded: the lease runs out and the same notice is sent again.
            SEND_ERRORS.labels(endpoint.recipient).inc()
            log.warning("notice_send_error", error=type(error).__name__, recipient=endpoint.recipient)

    async def _handle(self, endpoint: Endpoint, job: Job) -> None:
        try:
            key = (await self.keys.find([job.kid]))[job.kid]
        except KeyServiceError:
            KEYS_AWAITED.inc()
            await store.postpone(self.pool, job, self.clock() + KEY_RETRY * (1 + self.jitter()))
            return
        if key == "key_destroyed":
            await self._skip(job)
        elif isinstance(key, str):
            await self._refuse(job, key)
        else:
            await self._tell(endpoint, job, key)

    async def _tell(self, endpoint: Endpoint, job: Job, key: bytes) -> None:
        envelope = _envelope(job)
        try:
            notice = codec.unseal(envelope, job.sealed, key=key, topic=NOTICES)
            assert isinstance(notice, Notice)
            body = model.body_of(notice)
        except (CodecError, TooLargeError) as error:
            await self._refuse(job, error.code)
            return
        headers = self.signer.headers(notice.notice_id, self.clock(), body, *endpoint.secrets)
        if envelope.traceparent:
            headers["traceparent"] = envelope.traceparent
        await self._record(endpoint, job, await post.post(self.client, endpoint, headers, body))

    async def _record(self, endpoint: Endpoint, job: Job, reply: Reply) -> None:
        now, delivered = self.clock(), job.delivered_at is not None
        verdict = model.judge(reply, attempts=job.attempts + 1, delivered=delivered, now=now, jitter=self.jitter())
        ATTEMPTS.labels(job.recipient, _result(reply, verdict)).inc()
        async with self.pool.acquire() as connection, connection.transaction():
            await store.note_attempt(connection, job, reply, now)
            if isinstance(verdict, Acknowledged):
                await self._acknowledge(connection, job, verdict)
                return
            await store.again(connection, job, verdict, now)
            if verdict.disable:
                log.error("notice_endpoint_disabled", recipient=endpoint.recipient)
                await store.disable(connection, endpoint, now)

    async def _acknowledge(self, tx: Connection, job: Job, said: Acknowledged) -> None:
        stage: Stage = "refused" if said.outcome == "refused" else "applied"
        at = self.clock()
        if await store.close(tx, job, "acknowledged", at, outcome=said.outcome, reason=said.reason, attempted=True):
            await self._say(tx, job, "acknowledged", [self._receipt(job, stage, said.outcome, said.reason)])

    async def _skip(self, job: Job) -> None:
        """The member is erased: nobody can read the notice any more, and nobody has to."""
        async with self.pool.acquire() as connection, connection.transaction():
            if await store.close(connection, job, "skipped_destroyed", self.clock()):
                await self._say(connection, job, "skipped_destroyed", [self._receipt(job, "skipped_destroyed")])

    async def _refuse(self, job: Job, code: str) -> None:
        """A fault that no repetition mends: the record to the dead letters, and whoever waits is told."""
        log.error("notice_refused", code=code, recipient=job.recipient)
        letter = outgoing.dead_letter(job, code)
        async with self.pool.acquire() as connection, connection.transaction():
            if await store.close(connection, job, "refused", self.clock(), reason=code):
                await self._say(connection, job, "refused", [letter, self._receipt(job, "refused", None, code)])

    async def _say(self, tx: Connection, job: Job, state: str, records: list[Record]) -> None:
        await outgoing.append_new(tx, records)
        CLOSED.labels(job.recipient, state).inc()
        self.nudge()

    def _receipt(self, job: Job, stage: Stage, outcome: Outcome | None = None, reason: str | None = None) -> Record:
        return outgoing.receipt(
            change_id=job.change_id,
            member_ref=job.member_ref,
            seq=job.seq,
            recipient=job.recipient,
            stage=stage,
            at=self.clock(),
            outcome=outcome,
            reason=reason,
        )


def _envelope(job: Job) -> Envelope:
    return from_headers((name, text.encode()) for name, text in job.headers.items())


def _result(reply: Reply, verdict: Acknowledged | model.Again) -> str:
    if isinstance(verdict, Acknowledged):
        return "acknowledged"
    if verdict.disable:
        return "gone"
    return "delivered" if reply.is_success else "failed"

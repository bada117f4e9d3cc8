"""One claimed notice: open it, see whether it may go, POST it, record what came of it.

Nothing is recorded before the answer. A process that dies between the POST and the record of it leaves the lease to
run out: the same notice is then sent again under the same webhook-id.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import aiohttp
import asyncpg
import structlog
from opentelemetry.trace import Span, SpanKind
from prometheus_client import Counter

from schemas import codec
from schemas.codec import CodecError
from schemas.envelope import TRACEPARENT, from_headers
from schemas.events import Notice
from schemas.topics import NOTICES
from services.propagator.keys import ContentKeys, Found, KeyServiceError
from services.propagator.notices import endings, model, order, outgoing, post, store
from services.propagator.notices.endpoints import Endpoint
from services.propagator.notices.model import Acknowledged, Again, Attempted, Reply, TooLargeError
from services.propagator.notices.order import Waits
from services.propagator.notices.plan import Plan
from services.propagator.notices.signing import Signer
from services.propagator.notices.store import End, Job
from services.runtime import tracing
from services.runtime.clock import Clock
from services.runtime.postgres import Connection

KEY_RETRY: Final = timedelta(seconds=5)
ATTEMPTS = Counter("dongui_notice_attempts", "Attempts to tell a third party", ["recipient", "result"])
CLOSED = Counter("dongui_notices_closed", "Notices that need nothing more", ["recipient", "state"])
OVERTAKEN = Counter("dongui_notices_overtaken", "Notices in whose place a newer one went", ["recipient"])
KEYS_AWAITED = Counter("dongui_notice_keys_unavailable", "Sends put off because the key service gave no answer")
log = structlog.get_logger("notices")


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """What one attempt needs. `nudge` wakes the relay; `jitter` gives 0 to 1."""

    pool: asyncpg.Pool
    keys: ContentKeys
    client: aiohttp.ClientSession
    signer: Signer
    plan: Plan
    clock: Clock
    nudge: Callable[[], None]
    jitter: Callable[[], float] = random.random

    async def warm(self, jobs: list[Job]) -> None:
        """Fetch the keys of a batch by one request; what goes wrong here shows when each job asks."""
        try:
            await self.keys.find([job.kid for job in jobs])
        except KeyServiceError:
            return

    async def tell(self, endpoint: Endpoint, job: Job) -> Reply | None:
        """Send one notice and record the answer; return it, or None when nothing was sent."""
        key = await self._key(job)
        if not isinstance(key, bytes):
            return None
        opened = await self._opened(job, key)
        if opened is None:
            return None
        notice, body = opened
        if job.behind and not await self._goes(job, notice):
            return None
        came = await self._post(endpoint, job, notice.notice_id, body)
        return await self._record(endpoint, job, notice, came)

    async def leave(self, channel: str, job: Job) -> None:
        """Leave one notice to staff, who tell the third party by e-mail or post; an erased member's to nobody."""
        if not isinstance(await self._key(job), bytes):
            return
        now = self.clock()
        said = outgoing.receipt(endings.subject_of(job), "manual", now, reason=channel)
        async with self.pool.acquire() as connection, connection.transaction():
            if await store.leave_to_staff(connection, job, now + self.plan.manual_look):
                await outgoing.append_new(connection, [said])
                await endings.answered_before(connection, job)
        self.nudge()

    async def _key(self, job: Job) -> Found | None:
        """Return the key; without one, record what follows: later (None), not at all, or a dead letter."""
        try:
            key = (await self.keys.find([job.kid]))[job.kid]
        except KeyServiceError:
            KEYS_AWAITED.inc()
            await store.postpone(self.pool, job, self.clock() + KEY_RETRY * (1 + self.jitter()))
            return None
        if key == "key_destroyed":
            await self._skip(job)
        elif isinstance(key, str):
            await self._refuse(job, key)
        return key

    async def _opened(self, job: Job, key: bytes) -> tuple[Notice, bytes] | None:
        envelope = from_headers((name, text.encode()) for name, text in job.headers.items())
        try:
            notice = codec.unseal(envelope, job.sealed, key=key, topic=NOTICES)
            assert isinstance(notice, Notice)
            return notice, model.body_of(notice)
        except (CodecError, TooLargeError) as error:
            await self._refuse(job, error.code)
            return None

    async def _goes(self, job: Job, notice: Notice) -> bool:
        """Whether a notice may go before older ones, which it then overtakes; else it is put off."""
        now = self.clock()
        found = order.decide(frozenset(notice.items), await store.older(self.pool, job, now), now)
        if isinstance(found, Waits):
            await store.postpone(self.pool, job, found.until)
            return False
        async with self.pool.acquire() as connection, connection.transaction():
            gone = await endings.overtaken(connection, job, found.overtaken, now)
        OVERTAKEN.labels(job.recipient).inc(gone)
        self.nudge()
        return True

    async def _post(self, endpoint: Endpoint, job: Job, notice_id: str, body: bytes) -> Reply:
        now = self.clock()
        headers = self.signer.headers(notice_id, now, body, *endpoint.secrets)
        told: tracing.Attributes = {
            "http.request.method": "POST",
            "http.request.resend_count": job.attempts,
            "dongui.recipient": job.recipient,
            "dongui.change_id": job.change_id,
        }
        caused_by = job.headers.get(TRACEPARENT)
        with tracing.span("POST webhook", SpanKind.CLIENT, told, parent=caused_by) as opened:
            if trace := tracing.traceparent() or caused_by:
                headers[TRACEPARENT] = trace
            reply = await post.post(self.client, endpoint, headers, body)
            _note_reply(opened, reply)
        return reply

    def _judged(self, job: Job, notice: Notice, reply: Reply, now: datetime) -> tuple[Reply, Acknowledged | Again]:
        """Return what follows from an answer; one that cannot be read is taken by its status alone.

        Whoever reads the answer after this reads what was judged: nothing a third party words keeps its attempt off the
        record, and with that from the schedule.
        """
        made = Attempted(notice_id=notice.notice_id, attempts=job.attempts + 1, delivered=job.delivered_at is not None)
        judge = partial(model.judge, attempted=made, waits=self.plan.schedule, now=now, jitter=self.jitter())
        try:
            return reply, judge(reply)
        except Exception as error:  # noqa: BLE001 - whatever it is, without a record the notice goes again every minute
            log.warning("notice_answer_unreadable", error=type(error).__name__, recipient=job.recipient)
            left = reply.without_words(type(error).__name__)
            return left, judge(left)

    async def _record(self, endpoint: Endpoint, job: Job, notice: Notice, came: Reply) -> Reply:
        """Write what came of an attempt; return the answer as it was read."""
        now = self.clock()
        reply, verdict = self._judged(job, notice, came, now)
        ATTEMPTS.labels(job.recipient, _result(reply, verdict)).inc()
        async with self.pool.acquire() as connection, connection.transaction():
            await store.note_attempt(connection, job, notice, reply, now)
            if isinstance(verdict, Again):
                await self._ask_again(connection, endpoint, job, verdict, now)
                return reply
            end = End("acknowledged", now, verdict.outcome, verdict.reason)
            said = await endings.acknowledged(connection, job, end)
        self._told(job, end, said=said)
        return reply

    async def _ask_again(self, tx: Connection, endpoint: Endpoint, job: Job, verdict: Again, now: datetime) -> None:
        await store.again(tx, job, verdict, now)
        if verdict.state == "delivered":
            await endings.answered_before(tx, job)
        if verdict.disable:
            log.error("notice_endpoint_disabled", recipient=endpoint.recipient)
            await store.disable(tx, endpoint, now)

    async def _skip(self, job: Job) -> None:
        end = End("skipped_destroyed", self.clock())
        async with self.pool.acquire() as connection, connection.transaction():
            said = await endings.skipped(connection, job, end)
        self._told(job, end, said=said)

    async def _refuse(self, job: Job, code: str) -> None:
        log.error("notice_refused", code=code, recipient=job.recipient)
        end = End("refused", self.clock(), reason=code)
        async with self.pool.acquire() as connection, connection.transaction():
            said = await endings.refused(connection, job, end)
        self._told(job, end, said=said)

    def _told(self, job: Job, end: End, *, said: bool) -> None:
        if said:
            CLOSED.labels(job.recipient, end.state).inc()
            self.nudge()


def _note_reply(opened: Span | None, reply: Reply) -> None:
    if reply.status is not None:
        tracing.note(opened, {"http.response.status_code": reply.status})
    if not reply.is_success:
        tracing.fail(opened, reply.error or str(reply.status))


def _result(reply: Reply, verdict: Acknowledged | Again) -> str:
    if isinstance(verdict, Acknowledged):
        return "acknowledged"
    if verdict.disable:
        return "gone"
    return "delivered" if reply.is_success else "failed"

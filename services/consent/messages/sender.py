"""Sends what is queued. A message is leased while it goes out; what was sent is recorded in one transaction after.

A process that dies between the two leaves the lease to run out: the same message goes again under the same id.
Whether an advertisement may go is asked here, right before it goes (Network Act 50(2): a withdrawal beats the queue).
"""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import asyncpg
import structlog
from prometheus_client import Counter, Gauge

from services.consent import register, store
from services.consent.handlers import Consent
from services.consent.messages import model, opt_out, reconfirmation, wishes
from services.consent.messages.adapters import Adapter, DeliveryError, Outbound
from services.consent.messages.model import Drop, Go, Wait
from services.consent.messages.settle import ERASED, NOBODY_LEFT, settle
from services.consent.model import ConsentRef, Member
from services.consent.sealing import SealError
from services.consent.store import SQL
from services.keyring.keyring import KeyDestroyedError, KeyUnknownError
from services.policy.message_text import Address, AdvertisementError, Rendered, render
from services.policy.messages import Medium, load
from services.runtime import pulse
from services.runtime.postgres import DATABASE_ERRORS, Connection

BATCH: Final = 20
LEASE: Final = timedelta(minutes=5)
"""Longer than a batch of sends, each with its time-out, sent side by side."""
ERROR_PAUSE_S: Final = 1.0

ENDED = Counter("dongui_messages", "Messages that need nothing more", ["kind", "state"])
TRIES = Counter("dongui_message_tries", "Tries to send a message", ["medium", "result"])
WAITING = Gauge("dongui_messages_waiting", "Messages that wait to be sent", ["medium"])
ADAPTER = Gauge("dongui_message_adapter", "Whether a medium is set up: 0 = its messages wait", ["medium"])
MEDIA: Final[tuple[Medium, ...]] = ("email", "sms", "push")
log = structlog.get_logger("messages")

Job = asyncpg.Record


@dataclass(frozen=True)
class _End:
    """What became of a message: state, coded reason, whether it was tried."""

    state: str
    reason: str | None = None
    tried: bool = False


@dataclass(frozen=True)
class Sender:
    """What sending needs; a medium without an adapter keeps its messages."""

    consent: Consent
    adapters: Mapping[Medium, Adapter]
    poll_s: float = 1.0
    public_url: str | None = None
    """Where members reach this service; without it an advertisement is refused by mail only."""

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`; what is being sent then ends first."""
        for medium in MEDIA:
            ADAPTER.labels(medium).set(medium in self.adapters)
        stopping = asyncio.ensure_future(stop.wait())
        try:
            with pulse.of("messages") as beat:
                while not stop.is_set():
                    beat.turn()
                    if not await self._round():
                        await asyncio.wait({stopping}, timeout=self.poll_s)
        finally:
            stopping.cancel()

    async def _round(self) -> int:
        try:
            return await self.send_due()
        except DATABASE_ERRORS as error:
            log.warning("messages_database_unavailable", error=type(error).__name__)
            await asyncio.sleep(ERROR_PAUSE_S)
            return 0

    async def send_due(self) -> int:
        """Send a batch of what is due now; return how many were looked at."""
        now = self.consent.clock()
        lease = (str(uuid.uuid4()), now, now + LEASE, list(self.adapters), BATCH)
        jobs = await self.consent.pool.fetch(SQL["message_claim"], *lease) if self.adapters else []
        await asyncio.gather(*(self._one(job) for job in jobs))
        return len(jobs)

    async def _one(self, job: Job) -> None:
        try:
            await self._handle(job)
        except Exception as error:  # noqa: BLE001 - one bad message keeps no other waiting; its lease runs out
            TRIES.labels(job["medium"], "error").inc()
            log.warning("message_error", error=type(error).__name__, kind=job["kind"])

    async def _handle(self, job: Job) -> None:
        found = await self._member(job)
        if found is None:
            await self._end(job, _End("dropped", "member_unknown"))
            return
        member, notice_version = found
        if member.status == "erased":
            await self._end(job, _End("dropped", ERASED))
            return
        ruling = await self._ruling(job, member, notice_version)
        if isinstance(ruling, Wait):
            await self.consent.pool.execute(
                SQL["message_again"], job["message_id"], job["lease"], ruling.until, job["attempts"]
            )
        elif isinstance(ruling, Drop):
            await self._end(job, _End("dropped", ruling.reason))
        else:
            await self._send(job, member)

    async def _member(self, job: Job) -> tuple[Member, str | None] | None:
        """Return the member, and the notice version that its consent to this company's marketing cites."""
        async with self.consent.pool.acquire() as connection:
            found = await store.read(connection, job["member_ref"])
        if found is None:
            return None
        use = ConsentRef("marketing", job["sender"], "use")
        cited = (c["notice_version"] for c in found[1] if ConsentRef(c["purpose"], c["party"], c["channel"]) == use)
        return found[0].member, next(cited, None)

    async def _ruling(self, job: Job, member: Member, notice_version: str | None) -> Go | Wait | Drop:
        kind, at = load().kinds[job["kind"]], self.consent.clock()
        late = kind.advertising and await reconfirmation.overdue(
            self.consent.pool, job["member_ref"], job["sender"], job["medium"], at
        )
        asked = (self.consent.rules, kind, job["sender"], job["medium"], member, at)
        return model.ruling(*asked, reconfirmed=not late, notice_version=notice_version)

    async def _send(self, job: Job, member: Member) -> None:
        try:
            outbound = self._outbound(job, await self._contact(job, member))
        except (KeyDestroyedError, KeyUnknownError, SealError):
            await self._end(job, _End("dropped", "key_destroyed"))
            return
        except AdvertisementError as error:
            await self._end(job, _End("failed", f"lint.{error.faults[0]}"))
            return
        if outbound is None:
            await self._end(job, _End("failed", "no_address"))
            return
        await self._deliver(job, outbound)

    async def _contact(self, job: Job, member: Member) -> dict[str, str]:
        """Address and name as they are now; of one who has left, as they were, while the key lives."""
        if member.email is not None:
            return wishes.contact_of(member)
        token = await self.consent.pool.fetchval(SQL["message_sealed"], job["message_id"])
        if token is None:
            return {}
        key = await self.consent.keyring.data_key(job["member_ref"])
        return wishes.unsealed(job["message_id"], job["member_ref"], token, key)

    def _outbound(self, job: Job, contact: Mapping[str, str]) -> Outbound | None:
        messages = load()
        items = messages.reach[job["medium"]]
        to = next((contact[item] for item in items if item in contact), None)
        if "name" not in contact or (items and to is None):
            return None
        company = messages.companies[job["sender"]]
        advertising = messages.kinds[job["kind"]].advertising
        link = self._opt_out(job) if advertising else None
        text = self._text(job, contact["name"], link)
        return Outbound(
            message_id=job["message_id"],
            member_ref=job["member_ref"],
            medium=job["medium"],
            company=company.ko if job["language"] == "ko" else company.en,
            to=to,
            subject=text.subject,
            body=text.body,
            language=job["language"],
            unsubscribe=company.refusal if advertising else None,
            opt_out=link,
        )

    def _opt_out(self, job: Job) -> str | None:
        if self.public_url is None:
            return None
        about = (job["member_ref"], job["sender"], job["medium"])
        return opt_out.link(self.consent.index_key, self.public_url, *about, self.consent.clock())

    def _text(self, job: Job, name: str, link: str | None) -> Rendered:
        address = Address(job["kind"], job["sender"], job["language"])
        return render(load(), self.consent.rules, address, job["data"], name, link)

    async def _deliver(self, job: Job, outbound: Outbound) -> None:
        try:
            await self.adapters[outbound.medium].send(outbound)
        except DeliveryError as error:
            TRIES.labels(outbound.medium, "failed").inc()
            if error.permanent:
                await self._end(job, _End("failed", error.code, tried=True))
            else:
                await self._again(job, error.code)
            return
        TRIES.labels(outbound.medium, "sent").inc()
        await self._end(job, _End("sent", tried=True))

    async def _again(self, job: Job, code: str) -> None:
        number, at = job["attempts"] + 1, self.consent.clock()
        async with self.consent.pool.acquire() as tx, tx.transaction():
            row = (job["message_id"], job["lease"], model.next_try(at, number), number)
            if await tx.execute(SQL["message_again"], *row) == "UPDATE 1":
                await tx.execute(SQL["message_attempted"], job["message_id"], number, at, code)

    async def _end(self, job: Job, end: _End) -> None:
        """Close a message with its evidence; one whose lease went to another process is that one's to close."""
        at, number = self.consent.clock(), job["attempts"] + end.tried
        async with self.consent.pool.acquire() as tx, tx.transaction():
            row = (job["message_id"], job["lease"], end.state, end.reason, at, number)
            if await tx.execute(SQL["message_close"], *row) != "UPDATE 1":
                return
            if end.tried:
                await tx.execute(SQL["message_attempted"], job["message_id"], number, at, end.reason or "sent")
            if end.state == "sent" or end.reason in NOBODY_LEFT:
                await settle(tx, job, at, end.reason)
            await self._register(tx, job, end)
        ENDED.labels(job["kind"], end.state).inc()
        self.consent.nudge()

    async def _register(self, tx: Connection, job: Job, end: _End) -> None:
        codes = {name: job[name] for name in ("kind", "sender", "medium")}
        if end.reason is not None:
            codes["reason"] = end.reason
        at = self.consent.clock()
        ref = job["member_ref"]
        await register.append(
            tx, "message", job["message_id"], end.state, at, actor="system", member_ref=ref, codes=codes
        )


async def measure(consent: Consent) -> None:
    """Show how many messages wait, by medium."""
    waiting = {row["medium"]: row["waiting"] for row in await consent.pool.fetch(SQL["message_waiting"])}
    for medium in MEDIA:
        WAITING.labels(medium).set(waiting.get(medium, 0))

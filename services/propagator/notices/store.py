"""The rows of the notices database.

Every write after a claim is guarded by its lease: a sender that lost it writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from schemas.events import Notice
from services.propagator.notices import model
from services.propagator.notices.endpoints import Endpoint
from services.propagator.notices.model import Again, Reply, Waiting
from services.propagator.notices.order import Older
from services.runtime.postgres import Connection
from services.runtime.queries import Queries

SQL = Queries("services.propagator.notices")
Closed = Literal["acknowledged", "skipped_destroyed", "refused"]
NO_URL = ""
"""What a claim names for a third party that staff tell: no 410 disables it."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A record of the notices topic that can be read as far as that goes without a key."""

    record_id: str
    change_id: str
    member_ref: str
    recipient: str
    seq: int
    kid: str
    headers: dict[str, str]
    sealed: bytes
    origin: str
    """`<topic>/<partition>/<offset>`: where it came from, for whoever meets it among the dead letters."""


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed notice. `attempts` were made before; `delivered_at` is the first 2xx.

    `behind`: older notices of the same member and third party are not delivered.
    """

    position: int
    record_id: str
    change_id: str
    member_ref: str
    recipient: str
    seq: int
    kid: str
    headers: dict[str, str]
    sealed: bytes
    origin: str
    attempts: int
    delivered_at: datetime | None
    lease: str
    behind: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """What a receipt is about. `superseded_by` is the newer change whose notice went in place of this one's."""

    change_id: str
    member_ref: str
    recipient: str
    seq: int
    superseded_by: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """How a notice ended."""

    state: Closed | Literal["superseded"]
    at: datetime
    outcome: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to send: a token of its own, from `since` to `until`."""

    token: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What a third party did about a change, as the receipts topic tells it."""

    change_id: str
    recipient: str
    stage: str
    outcome: str | None
    reason: str | None
    at: datetime


async def insert(tx: Connection, found: Sequence[Incoming], at: datetime) -> int:
    """Add the notices not known yet, due at once; return how many. A refused one that comes again is tried again."""
    rows = list({(n.change_id, n.recipient): n for n in found}.values())
    columns = [[getattr(n, name) for n in rows] for name in Incoming.__slots__]
    added = await tx.fetch(SQL["insert_notices"], *columns, at)
    if added:
        await close_answered(tx, [row["change_id"] for row in added], [row["recipient"] for row in added])
    return len(added)


async def answered(tx: Connection, answers: Sequence[Answer]) -> list[tuple[int, End]]:
    """Keep the answers and close the notices they are about; return (position, end) of each that was closed.

    Of several answers the newest counts: a notice that was sent again may be answered otherwise than the first time.
    """
    columns: list[list[Any]] = [[getattr(a, name) for a in answers] for name in Answer.__slots__]
    await tx.execute(SQL["insert_answers"], *columns)
    return await close_answered(tx, columns[0], columns[1])


async def close_answered(tx: Connection, changes: Sequence[str], recipients: Sequence[str]) -> list[tuple[int, End]]:
    """Close the open notices of these pairs whose answer is known; return (position, end) of each that was closed.

    One that was sent again ends with an answer from before only when it has arrived again, or is told by staff: whoever
    answered at the consent service is held to that answer there, and no other will come.
    """
    rows = await tx.fetch(SQL["close_answered"], changes, recipients)
    return [(r["position"], End(r["state"], r["closed_at"], r["outcome"], r["reason"])) for r in rows]


async def due(pool: asyncpg.Pool, urls: Mapping[str, str], now: datetime) -> list[str]:
    """Return those of the third parties, each with its URL, for whom a notice is due and who are not disabled there.

    What waits for a disabled one stays due, however much it is: a claim, which looks through all of it, is not for now.
    """
    return [row["recipient"] for row in await pool.fetch(SQL["due_recipients"], [*urls], [*urls.values()], now)]


async def claim(pool: asyncpg.Pool, recipient: str, url: str, limit: int, lease: Lease) -> list[Job]:
    """Lease up to `limit` due notices of a third party that is not disabled at this URL.

    One that is behind older ones of the same member only when each of those has failed and none is being sent.
    """
    rows = await pool.fetch(SQL["claim"], recipient, limit, lease.token, lease.since, lease.until, url)
    return [Job(**dict(row)) for row in rows]


async def older(pool: asyncpg.Pool, job: Job, now: datetime) -> list[Older]:
    """Return the older undelivered notices of the job's member and third party, in order of sequence."""
    rows = await pool.fetch(SQL["older"], job.recipient, job.member_ref, job.seq, now)
    return [
        Older(**dict(row) | {"items": None if r is None else frozenset(r)}) for row in rows for r in (row["items"],)
    ]


async def overtake(tx: Connection, positions: Sequence[int], job: Job, now: datetime) -> list[Subject]:
    """Let a newer notice go in place of older ones that have failed; return those that it really overtook."""
    rows = await tx.fetch(SQL["overtake"], positions, job.position, job.lease, now)
    return [Subject(**dict(row), superseded_by=job.change_id) for row in rows]


async def close_overtaken(tx: Connection, position: int, end: End) -> list[Subject]:
    """End every notice that this one overtook, and those that they had overtaken; return them."""
    rows = await tx.fetch(SQL["close_overtaken"], position, end.state, end.outcome, end.reason, end.at)
    return [Subject(**dict(row)) for row in rows]


async def leave_to_staff(tx: Connection, job: Job, look_at: datetime) -> bool:
    """Leave a notice to staff; False when it is not ours any more."""
    return await tx.fetchval(SQL["leave_to_staff"], job.position, job.lease, look_at) is not None


async def postpone(pool: asyncpg.Pool, job: Job, due_at: datetime) -> None:
    """Give a job back untried."""
    await pool.execute(SQL["postpone"], job.position, job.lease, due_at)


async def note_attempt(tx: Connection, job: Job, notice: Notice, reply: Reply, at: datetime) -> None:
    """Keep the evidence of one attempt: when, status, milliseconds, class of the error, codes of the answer.

    With the first, what the delivery log shows of the notice: ids and item names, values masked.
    """
    answer = model.masked_answer(reply, notice.notice_id)
    opened = (notice.notice_id, list(notice.items), model.masked_body(notice))
    came = (at, reply.status, reply.milliseconds, reply.error, answer)
    await tx.execute(SQL["insert_attempt"], job.position, *came, *opened)


async def again(tx: Connection, job: Job, verdict: Again, now: datetime) -> None:
    """Store when and as what the job waits for its next attempt."""
    delivered_at = now if verdict.state == "delivered" else None
    await tx.execute(SQL["again"], job.position, job.lease, verdict.state, verdict.due_at, delivered_at)


async def close(tx: Connection, job: Job, end: End, *, attempted: bool = False) -> bool | None:
    """End a job; say whether it overtook others. None when it is not ours any more or ended meanwhile."""
    ended = (end.state, end.outcome, end.reason, end.at, int(attempted))
    overtook: bool | None = await tx.fetchval(SQL["close"], job.position, job.lease, *ended)
    return overtook


async def disable(tx: Connection, endpoint: Endpoint, at: datetime) -> None:
    """Send this URL nothing more until staff delete the row or the settings name another URL."""
    await tx.execute(SQL["disable_endpoint"], endpoint.recipient, endpoint.url, at)


async def disabled_urls(pool: asyncpg.Pool) -> set[tuple[str, str]]:
    """Return the (recipient, url) pairs that answered 410."""
    return {(row["recipient"], row["url"]) for row in await pool.fetch(SQL["disabled_endpoints"])}


async def wait_as(pool: asyncpg.Pool, recipient: str, state: Waiting) -> None:
    """Say why a recipient's undelivered notices wait; harmless when repeated."""
    await pool.execute(SQL["wait_as"], recipient, state)


async def census(pool: asyncpg.Pool) -> list[asyncpg.Record]:
    """Return the open notices: rows of (recipient, state, notices, oldest)."""
    return await pool.fetch(SQL["census"])

"""The rows of the notices database.

Every write after a claim is guarded by its lease: a sender that lost it writes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from services.propagator.notices.endpoints import Endpoint
from services.propagator.notices.model import Again, Outcome, Reply, Waiting
from services.runtime.postgres import Connection
from services.runtime.queries import Queries

SQL = Queries("services.propagator.notices")
Closed = Literal["acknowledged", "skipped_destroyed", "refused"]


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
    """A claimed notice. `attempts` were made before; `delivered_at` is the first 2xx."""

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
        await tx.execute(SQL["close_answered"], [row["change_id"] for row in added])
    return len(added)


async def answered(tx: Connection, answers: Sequence[Answer]) -> int:
    """Keep the answers and close the notices they are about; return how many were closed."""
    columns: list[list[Any]] = [[getattr(a, name) for a in answers] for name in Answer.__slots__]
    await tx.execute(SQL["insert_answers"], *columns)
    return len(await tx.fetch(SQL["close_answered"], columns[0]))


async def claim(pool: asyncpg.Pool, endpoint: Endpoint, limit: int, lease: Lease) -> list[Job]:
    """Lease up to `limit` due notices of an endpoint that is not disabled; per member only the oldest undelivered."""
    rows = await pool.fetch(
        SQL["claim"], endpoint.recipient, limit, lease.token, lease.since, lease.until, endpoint.url
    )
    return [Job(**dict(row)) for row in rows]


async def postpone(pool: asyncpg.Pool, job: Job, due_at: datetime) -> None:
    """Give a job back untried."""
    await pool.execute(SQL["postpone"], job.position, job.lease, due_at)


async def note_attempt(tx: Connection, job: Job, reply: Reply, at: datetime) -> None:
    """Keep the evidence of one attempt: when, status, milliseconds, class of the error."""
    await tx.execute(SQL["insert_attempt"], job.position, at, reply.status, reply.milliseconds, reply.error)


async def again(tx: Connection, job: Job, verdict: Again, now: datetime) -> None:
    """Store when and as what the job waits for its next attempt."""
    delivered_at = now if verdict.state == "delivered" else None
    await tx.execute(SQL["again"], job.position, job.lease, verdict.state, verdict.due_at, delivered_at)


async def close(
    tx: Connection,
    job: Job,
    state: Closed,
    at: datetime,
    *,
    outcome: Outcome | None = None,
    reason: str | None = None,
    attempted: bool = False,
) -> bool:
    """End a job; False when it is not ours any more or ended meanwhile: then nothing may be said about it."""
    row = await tx.fetchrow(SQL["close"], job.position, job.lease, state, outcome, reason, at, int(attempted))
    return row is not None


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

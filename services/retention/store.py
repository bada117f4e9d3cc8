"""The rows of the retention database. The transaction is an argument; content is sealed before it comes here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import asyncpg

from schemas.events import StatutoryRecord
from services.retention.sealing import Sealed
from services.runtime import outbox
from services.runtime.outbox import Record
from services.runtime.postgres import Connection
from services.runtime.queries import Queries

SQL = Queries("services.retention")


@dataclass(frozen=True)
class Row:
    """A record to be kept: what it is in clear, its content sealed, the mark by which its party is found."""

    record: StatutoryRecord
    sealed: Sealed
    email_mac: bytes | None


@dataclass(frozen=True)
class Reading:
    """Who reads what for what: of one member, or of whoever a record names by this e-mail."""

    member_ref: str | None
    email_mac: bytes | None
    purpose: str
    reason: str
    reader: str
    at: datetime
    keep_until: date
    """The day on which the note of this reading is destroyed."""


async def known(tx: Connection, record_ids: Sequence[str]) -> set[str]:
    """Return those of the records that are here or were destroyed here."""
    return {row["record_id"] for row in await tx.fetch(SQL["known"], list(record_ids))}


async def insert(tx: Connection, rows: Sequence[Row], at: datetime) -> None:
    """Insert records and their keys."""
    if not rows:
        return
    found = [r.record for r in rows]
    columns: list[list[Any]] = [
        [r.record_id for r in found],
        [r.member_ref for r in found],
        [r.record_class for r in found],
        [r.occurred_at for r in found],
        [r.destroy_on for r in found],
        [r.rule for r in found],
        [r.email_mac for r in rows],
        [r.sealed.content for r in rows],
    ]
    await tx.execute(SQL["insert_records"], *columns, at)
    keys = [r.sealed.wrapped for r in rows], [r.sealed.kek_id for r in rows]
    await tx.execute(SQL["insert_keys"], columns[0], *keys)


async def append_new(tx: Connection, records: Sequence[Record]) -> None:
    """Append those records whose id the outbox has not seen."""
    wanted = {r.id: r for r in records}
    seen = {row["id"] for row in await tx.fetch(SQL["in_outbox"], list(wanted))} if wanted else set()
    await outbox.append(tx, [record for record_id, record in wanted.items() if record_id not in seen])


async def read(tx: Connection, reading: Reading) -> list[asyncpg.Record]:
    """Return records with their sealed content, a member without any as one row of nulls; the reading is noted.

    Raises asyncpg.InsufficientPrivilegeError for a purpose they are not kept for.
    """
    who = (reading.member_ref, reading.email_mac)
    why = (reading.purpose, reading.reason, reading.reader)
    return list(await tx.fetch(SQL["read"], *who, *why, reading.at, reading.keep_until))


async def destroy(tx: Connection, today: date, at: datetime, limit: int) -> list[asyncpg.Record]:
    """Delete up to `limit` records with their keys whose last day is over; return what they were, without content."""
    return list(await tx.fetch(SQL["destroy"], today, at, limit))

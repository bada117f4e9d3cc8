"""Reading what is kept: for compliance with a reason, for the person on a rights request; each reading is recorded.

The database hands content out for these two purposes only and notes the reading itself (0001_retention.sql). The entry
for the audit log leaves in the same transaction.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import asyncpg

from schemas.base import ActorKind
from services.keyring.kek import KekProvider
from services.policy.retention import all_classes, kept
from services.retention import answers, sealing, store
from services.retention.sealing import Sealed
from services.retention.store import SQL, Reading
from services.runtime import outbox
from services.runtime.clock import KST, Clock

LARGE: Final = 50_000
"""Members from which the log of accesses is kept two years (safeguards notice 8): we keep it so in any case."""
NIL: Final = "00000000-0000-0000-0000-000000000000"
PAGE: Final = 500


@dataclass(frozen=True)
class Vault:
    """What the API needs."""

    pool: asyncpg.Pool
    kek: KekProvider
    index_key: bytes
    clock: Clock


@dataclass(frozen=True)
class Question:
    """Who asks about whom, by reference or by e-mail, for which purpose and coded reason."""

    purpose: str
    reason: str
    reader: str
    member_ref: str | None = None
    email: str | None = None


async def read(vault: Vault, question: Question) -> dict[str, Any]:
    """Return the records of whoever is asked about, with their content. Raises KekError, ContentError."""
    at = vault.clock()
    reading = Reading(
        member_ref=question.member_ref,
        email_mac=sealing.email_mac(vault.index_key, question.email) if question.email else None,
        purpose=question.purpose,
        reason=question.reason,
        reader=question.reader,
        at=at,
        keep_until=kept(all_classes()["access_log"], at, persons=LARGE).destroy_on,
    )
    async with vault.pool.acquire() as connection, connection.transaction():
        rows = await store.read(connection, reading)
        await outbox.append(connection, _entries(rows, question, at))
    return {"records": [await _shown(vault, row) for row in rows if row["record_id"] is not None]}


def _entries(rows: list[asyncpg.Record], question: Question, at: datetime) -> list[outbox.Record]:
    """One entry per member whose records were read, one too where there was nothing to see."""
    actor: ActorKind = "member" if question.purpose == "rights" else "staff"
    readings = {row["reading_id"]: row["member_ref"] for row in rows}
    counts = {r: sum(1 for row in rows if row["reading_id"] == r and row["record_id"]) for r in readings}
    return [
        answers.entry(
            "retention_reading",
            reading_id,
            "read",
            at,
            actor=actor,
            member_ref=ref,
            codes={"purpose": question.purpose, "reason": question.reason, "records": str(counts[reading_id])},
        )
        for reading_id, ref in readings.items()
    ]


async def _shown(vault: Vault, row: asyncpg.Record) -> dict[str, Any]:
    sealed = Sealed(row["sealed"], row["wrapped"], row["kek_id"])
    content = await sealing.unseal(vault.kek, row["record_id"], sealed)
    told = {name: row[name] for name in ("record_id", "member_ref", "class", "occurred_at", "destroy_on", "rule")}
    return {**told, "what": all_classes()[row["class"]].ko, **content}


async def schedule(vault: Vault, until: date, after: str) -> dict[str, Any]:
    """Return what is to be destroyed by the end of a day, earliest first, behind a cursor. No content, no member."""
    day, _, record_id = after.partition("/")
    since = (date.fromisoformat(day), record_id) if record_id else (date.min, NIL)
    rows = await vault.pool.fetch(SQL["schedule"], until, *since, PAGE)
    last = rows[-1] if len(rows) == PAGE else None
    following = f"{last['destroy_on'].isoformat()}/{last['record_id']}" if last else None
    return {"records": [dict(row) for row in rows], "next": following, "today": vault.clock().astimezone(KST).date()}

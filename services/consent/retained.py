"""Statutory records leave for the retention database when their member is erased, and end here when their time does.

No transaction spans two databases (design.md section 2.8): the outbox carries a record sealed for the retention
process, its `retained` receipt comes back, and only then does the content go from here. From the hand-over on records
are under a key of their own: what another law keeps (PIPA 21(1), proviso) outlives the member's key, and only that.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import orjson

from schemas import codec
from schemas.codec import RETENTION_PARTY
from schemas.envelope import Envelope, to_headers
from schemas.events import RECORD_TYPE, StatutoryRecord
from schemas.receipts import Receipt
from schemas.topics import RETENTION
from services.consent import register, sealing
from services.consent.handlers import Consent
from services.consent.records import SOURCE
from services.consent.store import SQL
from services.keyring import derive
from services.runtime import outbox
from services.runtime.clock import KST
from services.runtime.outbox import Record
from services.runtime.postgres import Connection

EPOCH: Final = 2
"""In the key id: from 2 on the key is derived from the hand-over key, before it was from the member's own."""
PAGE: Final = 200


async def hand_over(consent: Consent, tx: Connection, member_ref: str) -> int:
    """Put the member's statutory records on the outbox, in the transaction that starts an erasure; return how many.

    The member's row is locked by the caller and takes no record any more (status withdrawn). What must no longer be
    kept is destroyed instead. Called again it sends nothing twice. Wake the relay after the commit.
    What waits here is sealed anew under the hand-over key, which the member's shred does not touch.
    Raises KeyDestroyedError when there are records and their key is gone.
    """
    at = consent.clock()
    await destroy_expired(tx, at, member_ref=member_ref)
    rows = await tx.fetch(SQL["record_lock_to_hand_over"], member_ref, at.astimezone(KST).date())
    if not rows:
        return 0
    change = await tx.fetchrow(SQL["record_last_change"], member_ref)
    assert change is not None  # signing up was one
    data_key = await consent.keyring.data_key(member_ref)
    own_key = await consent.keyring.create(derive.handover_ref(member_ref))
    await outbox.append(tx, [_carrier(_opened(row, member_ref, change, data_key), own_key, at) for row in rows])
    sealed = [_resealed(row, member_ref, data_key, own_key) for row in rows]
    await tx.execute(SQL["record_handed_over"], [row["record_id"] for row in rows], sealed, at)
    return len(rows)


async def end_handover(consent: Consent, member_refs: Sequence[str]) -> None:
    """Destroy the hand-over keys: every record is retained elsewhere, or its time is over. Again is harmless."""
    await consent.keyring.shred(*map(derive.handover_ref, member_refs))


async def owing(tx: Connection, member_refs: Sequence[str]) -> frozenset[str]:
    """Return of these members those of whom the retention database has not answered `retained` for every record."""
    return frozenset(row["member_ref"] for row in await tx.fetch(SQL["record_owing"], member_refs))


async def answered(tx: Connection, receipts: Sequence[Receipt]) -> None:
    """Take the retention process's answers: `retained` ends a record here, anything else is kept as why it did not."""
    last = {r.record_id: r for r in receipts if r.record_id is not None and r.recipient == RETENTION_PARTY}
    if last:
        found = list(last.values())
        columns: list[list[Any]] = [[r.record_id for r in found], [r.stage for r in found], [r.at for r in found]]
        await tx.execute(SQL["record_answered"], *columns)


async def destroy_expired(tx: Connection, at: datetime, *, member_ref: str | None = None, limit: int = PAGE) -> int:
    """Destroy up to `limit` records whose last day is over, of one member or of all; return how many.

    A legal hold, on the member or on the destruction of who has left, keeps them until it is lifted.
    Each whose content was here is a register entry `retention_destroyed`; the retention process records its own.
    """
    rows = await tx.fetch(SQL["record_destroy"], at.astimezone(KST).date(), member_ref, limit)
    for row in rows:
        if row["stage"] != "retained":
            codes = {
                "class": row["class"],
                "rule": row["rule"],
                "place": "consent",
                "destroy_on": row["destroy_on"].isoformat(),
            }
            told = ("retention_destroyed", row["record_id"], "destroyed", at)
            await register.append(tx, *told, actor="system", member_ref=row["member_ref"], codes=codes)
    return len(rows)


def label_of(record_id: str) -> str:
    """Return the label under which a record's content is sealed here."""
    return f"statutory-record/{record_id}"


def _resealed(row: asyncpg.Record, member_ref: str, data_key: bytes, own_key: bytes) -> bytes:
    label = label_of(row["record_id"])
    return sealing.seal(own_key, member_ref, label, sealing.unseal(data_key, member_ref, label, row["sealed"]))


def _opened(row: asyncpg.Record, member_ref: str, change: asyncpg.Record, data_key: bytes) -> StatutoryRecord:
    content = orjson.loads(sealing.unseal(data_key, member_ref, label_of(row["record_id"]), row["sealed"]))
    return StatutoryRecord(
        record_id=row["record_id"],
        change_id=change["change_id"],
        member_ref=member_ref,
        seq=change["seq"],
        record_class=row["class"],
        occurred_at=row["occurred_at"],
        destroy_on=row["destroy_on"],
        rule=row["rule"],
        party=content["party"],
        fields=content["fields"],
    )


def _carrier(record: StatutoryRecord, data_key: bytes, at: datetime) -> Record:
    """The event id is the record's own: whoever cannot open it any more can still say which one that was."""
    envelope = Envelope(
        id=record.record_id,
        type=RECORD_TYPE,
        source=SOURCE,
        subject=record.member_ref,
        sequence=record.seq,
        previous=record.seq - 1,
        time=at,
        dataschema="urn:dongui:record:v1",
        content_type="application/jose",
        change_id=record.change_id,
    )
    kid = derive.format_kid(RETENTION_PARTY, record.member_ref, EPOCH)
    payload = codec.seal(record, key=derive.content_key(data_key, kid), kid=kid, topic=RETENTION)
    return Record(envelope.id, RETENTION, record.member_ref, envelope.type, payload, to_headers(envelope))

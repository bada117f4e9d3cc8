"""Pausing one affiliate: its sealed states are parked as they came and acknowledged; stop records never wait.

A stop that overtakes a parked state opens a gap, which the state fills when it is taken out: it ends as `superseded`,
and in the rows the newest wins, as always. Nothing is opened while parked: an erasure leaves it unreadable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aiokafka import ConsumerRecord
from uuid_utils import uuid7

from schemas.receipts import CODED_VALUE, RegisterEntry
from schemas.topics import affiliate_topic
from services.propagator.store import SQL, Database
from services.runtime import outbox
from services.runtime.postgres import Connection
from services.runtime.register_record import carrier

KIND: Final = "affiliate"
TAKEN_MAX: Final = 500


@dataclass(frozen=True)
class Waiting:
    """What waits at one affiliate: parked states, gaps, since when it is paused and by whom (None: it is not)."""

    parked: int
    gaps: int
    since: datetime | None
    by: str | None


async def pause(tx: Connection, affiliate: str, by: str, at: datetime) -> bool:
    """Pause in the caller's transaction, with its entry for the audit log; False when it was paused already."""
    new = await tx.fetchrow(SQL["parked_pause"], at, by) is not None
    if new:
        await _entry(tx, affiliate, "paused", by, at)
    return new


async def resume(tx: Connection, affiliate: str, by: str, at: datetime) -> bool:
    """End the pause likewise; the propagator then takes out what is parked. False when it was not paused."""
    ended = await tx.fetchrow(SQL["parked_resume"]) is not None
    if ended:
        await _entry(tx, affiliate, "resumed", by, at)
    return ended


async def waiting(tx: Database) -> Waiting:
    """Return what waits."""
    row = await tx.fetchrow(SQL["parked_count"])
    assert row is not None
    return Waiting(row["parked"], row["gaps"], row["since"], row["by"])


async def members(tx: Database, refs: Sequence[str]) -> frozenset[str]:
    """Return which of these members have something parked."""
    return frozenset(row["member_ref"] for row in await tx.fetch(SQL["parked_members"], list(refs)))


async def park(tx: Database, records: Sequence[tuple[str, int, "ConsumerRecord[Any, Any]"]], at: datetime) -> None:
    """Keep (member_ref, seq, record) until the pause ends; again, it changes nothing."""
    if not records:
        return
    rows = [
        (ref, seq, raw.partition, raw.offset, bytes(raw.value), {n: v.decode() for n, v in raw.headers})
        for ref, seq, raw in records
    ]
    await tx.execute(SQL["parked_park"], *map(list, zip(*rows, strict=True)), at)


async def taken(tx: Database, affiliate: str) -> list["ConsumerRecord[Any, Any]"]:
    """Return the next parked records in order; none while the affiliate is paused."""
    return [_record(affiliate, row) for row in await tx.fetch(SQL["parked_next"], TAKEN_MAX)]


async def forget(tx: Database, records: Sequence["ConsumerRecord[Any, Any]"]) -> None:
    """Drop parked records that were applied."""
    headers = [dict(raw.headers) for raw in records]
    refs, seqs = [h["ce_subject"].decode() for h in headers], [int(h["ce_sequence"]) for h in headers]
    await tx.execute(SQL["parked_forget"], refs, seqs)


def _record(affiliate: str, row: Any) -> "ConsumerRecord[Any, Any]":
    headers = tuple((name, text.encode()) for name, text in row["headers"].items())
    key = row["member_ref"].encode()
    place = (affiliate_topic(affiliate), row["partition"], row["record_offset"])
    return ConsumerRecord(*place, 0, 0, key, row["value"], None, len(key), len(row["value"]), headers)


async def _entry(tx: Connection, affiliate: str, state: str, by: str, at: datetime) -> None:
    codes = {"affiliate": affiliate} | ({"by": by} if CODED_VALUE.fullmatch(by) else {})
    entry = RegisterEntry(
        entry_id=str(uuid7()), kind=KIND, subject=str(uuid7()), state=state, at=at, actor="staff", codes=codes
    )
    await outbox.append(tx, [carrier(entry, f"/dongui/propagator/{affiliate}")])

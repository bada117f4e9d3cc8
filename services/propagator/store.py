"""The member store's SQL: many members per statement, so that a batch costs a few round trips whatever its size.

Nothing here commits: the caller's transaction is the first argument.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from services.propagator.model import (
    Cell,
    Gap,
    MemberRow,
    Processed,
    ProcessedRow,
    State,
    Status,
    Values,
    member_row,
    processed_row,
)
from services.runtime.outbox import Record, shard_of
from services.runtime.queries import Queries

SQL: Final = Queries("services.propagator")
SUPPRESSIONS_LOCK: Final = 7_318_406
"""Batches share it, a suppression owns it: a member can't slip in between the look at `suppressed` and the commit."""

Database = asyncpg.Pool | asyncpg.Connection | PoolConnectionProxy
Change = tuple[State, State]
"""Before and after."""


async def read(tx: Database, refs: Iterable[str]) -> dict[str, State]:
    """Return what is known of each of these members."""
    return {row["member_ref"]: _state(row) for row in await tx.fetch(SQL["read_states"], sorted(set(refs)))}


@dataclass(frozen=True, slots=True)
class Seen:
    """What tells a duplicate: of each member only watermark, gaps and suppression. And is the affiliate paused?"""

    states: dict[str, State]
    paused: bool


async def seen(tx: Database, refs: Iterable[str]) -> Seen:
    """Return what was seen of each of these members; there must be one."""
    rows = await tx.fetch(SQL["read_seen"], sorted(set(refs)))
    states = [
        State(row["member_ref"], seq=row["seq"], gaps=_gaps(row["gaps"]), suppressed=row["suppressed"]) for row in rows
    ]
    return Seen({state.member_ref: state for state in states}, rows[0]["paused"])


async def lock(tx: Database, refs: Iterable[str]) -> dict[str, State]:
    """Lock these members until the transaction ends and return what is known of them.

    Locked by one statement and read by the next: a statement that waits for a lock has an old view of what it joins.
    """
    asked = sorted(set(refs))
    await tx.execute(SQL["touch_watermarks"], asked, SUPPRESSIONS_LOCK)
    await tx.execute(SQL["lock_watermarks"], asked)
    return await read(tx, asked)


def _gaps(found: Sequence[Sequence[Any]] | None) -> tuple[Gap, ...]:
    return tuple(Gap(after, upto, datetime.fromisoformat(noticed)) for after, upto, noticed in found or ())


def _state(row: asyncpg.Record) -> State:
    ref, suppressed = row["member_ref"], row["suppressed"]
    if row["seq"] is None:
        return State(ref, suppressed=suppressed)
    values: Any = row["values_state"]
    if values == "present":
        values = Values(row["email"], row["name"], row["password_hash"], row["signed_up_at"])
    processed: Any = row["processed_state"]
    if processed == "present":
        processed = Processed(row["service"], row["role"], row["items"])
    return State(
        ref,
        seq=row["seq"],
        gaps=_gaps(row["gaps"]),
        values=Cell(row["values_seq"], values),
        processed=Cell(row["processed_seq"], processed),
        marketing=Cell(row["marketing_seq"], row["marketing"]),
        status=Cell(row["status_seq"], Status(row["status"], row["status_at"])),
        parts=Cell(row["parts_seq"], tuple(row["parts"] or ())),
        suppressed=suppressed,
    )


async def write(tx: Database, changes: Sequence[Change], now: datetime) -> None:
    """Write what changed: watermarks, gaps, both kinds of rows, suppressions. The members are locked."""
    await _write_watermarks(tx, [after for _, after in changes])
    await _write_gaps(tx, changes)
    await _write_members(tx, changes, now)
    await _write_processed(tx, changes, now)
    suppressed = [after.member_ref for before, after in changes if after.suppressed and not before.suppressed]
    if suppressed:
        await tx.execute(SQL["suppress"], suppressed, [now] * len(suppressed))


async def rewrite(tx: Database, states: Sequence[State], gone: Sequence[str], now: datetime) -> None:
    """Make these members' rows what their states say, whatever stands there; take away those of `gone`.

    The members of `states` are locked; `gone` are unknown to the ledger and get no watermark by it.
    """
    refs = [state.member_ref for state in states]
    for name in ("delete_members", "delete_processed", "reconcile_forget_gaps"):
        await tx.execute(SQL[name], [*refs, *gone])
    await _write_watermarks(tx, states)
    members, processed = map(member_row, states), map(processed_row, states)
    await _execute(tx, "write_members", [_columns_of(r) for r in members if r is not None], now)
    await _execute(tx, "write_processed", [_columns_of(r) for r in processed if r is not None], now)


async def suppress(tx: Database, members: Mapping[str, datetime]) -> None:
    """Suppress members for ever (member_ref -> instant), whatever this store holds of them."""
    refs = sorted(members)
    await tx.execute(SQL["own_suppressions"], SUPPRESSIONS_LOCK)
    await tx.execute(SQL["suppress"], refs, [members[ref] for ref in refs])
    for name in ("clear_cells", "delete_members", "delete_processed"):
        await tx.execute(SQL[name], refs)


async def append(tx: Database, records: Sequence[Record]) -> None:
    """Append records to the outbox; one that is there already stays as it is (the same record read again)."""
    if not records:
        return
    await tx.execute(
        SQL["append_outbox"],
        [r.id for r in records],
        [r.topic for r in records],
        [r.key for r in records],
        [r.type for r in records],
        [r.payload for r in records],
        [r.headers for r in records],
        [shard_of(r.key) for r in records],
    )


async def _write_watermarks(tx: Database, states: Sequence[State]) -> None:
    rows = [
        (
            s.member_ref,
            s.seq,
            s.values.seq,
            "present" if isinstance(s.values.value, Values) else s.values.value,
            s.processed.seq,
            "present" if isinstance(s.processed.value, Processed) else s.processed.value,
            s.marketing.seq,
            s.marketing.value,
            s.status.seq,
            s.status.value.name,
            s.status.value.at,
            s.parts.seq,
            s.parts.value or None,  # a tuple: asyncpg would flatten a list among jsonb[]
        )
        for s in states
    ]
    await _execute(tx, "write_watermarks", rows)


async def _write_gaps(tx: Database, changes: Sequence[Change]) -> None:
    pairs = [(a.member_ref, set(b.gaps), set(a.gaps)) for b, a in changes if b.gaps != a.gaps]
    closed = [(ref, g.after) for ref, before, after in pairs for g in before - after]
    opened = [(ref, g.after, g.upto, g.noticed_at) for ref, before, after in pairs for g in after - before]
    await _execute(tx, "delete_gaps", closed)
    await _execute(tx, "insert_gaps", opened)


async def _write_members(tx: Database, changes: Sequence[Change], now: datetime) -> None:
    pairs = [(member_row(before), member_row(after)) for before, after in changes]
    gone = [b.member_ref for b, a in pairs if b is not None and a is None]
    rows: list[MemberRow] = [a for b, a in pairs if a is not None and a != b]
    if gone:
        await tx.execute(SQL["delete_members"], gone)
    await _execute(tx, "write_members", [_columns_of(r) for r in rows], now)


async def _write_processed(tx: Database, changes: Sequence[Change], now: datetime) -> None:
    pairs = [(processed_row(before), processed_row(after)) for before, after in changes]
    gone = [b.member_ref for b, a in pairs if b is not None and a is None]
    rows: list[ProcessedRow] = [a for b, a in pairs if a is not None and a != b]
    if gone:
        await tx.execute(SQL["delete_processed"], gone)
    await _execute(tx, "write_processed", [_columns_of(r) for r in rows], now)


def _columns_of(row: MemberRow | ProcessedRow) -> tuple[Any, ...]:
    return tuple(getattr(row, column.name) for column in fields(row))


async def _execute(tx: Database, name: str, rows: Sequence[tuple[Any, ...]], *more: Any) -> None:
    """Run a statement whose parameters are the columns of `rows`, then `more`; nothing without rows."""
    if rows:
        await tx.execute(SQL[name], *map(list, zip(*rows, strict=True)), *more)

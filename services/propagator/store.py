"""The member store's SQL: many members per statement, so that a batch costs a few round trips whatever its size.

Nothing here commits: the caller's transaction is the first argument.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, TypeVar

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
from services.runtime.outbox import Record, columns
from services.runtime.queries import Queries

SQL: Final = Queries("services.propagator")
SUPPRESSIONS_LOCK: Final = 7_318_406
"""Batches share it, a suppression owns it: a member can't slip in between the look at `suppressed` and the commit."""

Database = asyncpg.Pool | asyncpg.Connection | PoolConnectionProxy
Change = tuple[State, State]
"""Before and after."""
Row = TypeVar("Row", MemberRow, ProcessedRow)
WATERMARK_COLUMNS: Final = 13
_member_columns = attrgetter(*(column.name for column in fields(MemberRow)))
_processed_columns = attrgetter(*(column.name for column in fields(ProcessedRow)))


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
    """Lock these members until the transaction ends and return what is known of them."""
    rows = await tx.fetch(SQL["lock_states"], sorted(set(refs)), SUPPRESSIONS_LOCK)
    return {row["member_ref"]: _state(row) for row in rows}


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


async def write(tx: Database, changes: Sequence[Change], records: Sequence[Record], now: datetime) -> None:
    """Write what changed: watermarks, gaps, both kinds of rows, suppressions. The members are locked.

    Records go to the outbox; one that is there already stays as it is (the same record read again).
    """
    members = [(member_row(before), member_row(after)) for before, after in changes]
    processed = [(processed_row(before), processed_row(after)) for before, after in changes]
    await _write_gaps(tx, changes)
    await _delete(tx, "delete_members", members)
    await _delete(tx, "delete_processed", processed)
    suppressed = [after.member_ref for before, after in changes if after.suppressed and not before.suppressed]
    if suppressed:
        await tx.execute(SQL["suppress"], suppressed, [now] * len(suppressed))
    if changes or records:
        await _write(tx, [after for _, after in changes], _new(members), _new(processed), records, now)


async def rewrite(
    tx: Database, states: Sequence[State], gone: Sequence[str], records: Sequence[Record], now: datetime
) -> None:
    """Make these members' rows what their states say, whatever stands there; take away those of `gone`.

    The members of `states` are locked; `gone` are unknown to the ledger and get no watermark by it.
    """
    refs = [state.member_ref for state in states]
    for name in ("delete_members", "delete_processed", "reconcile_forget_gaps"):
        await tx.execute(SQL[name], [*refs, *gone])
    members = [row for row in map(member_row, states) if row is not None]
    processed = [row for row in map(processed_row, states) if row is not None]
    await _write(tx, states, members, processed, records, now)


async def suppress(tx: Database, members: Mapping[str, datetime]) -> None:
    """Suppress members for ever (member_ref -> instant), whatever this store holds of them."""
    refs = sorted(members)
    await tx.execute(SQL["own_suppressions"], SUPPRESSIONS_LOCK)
    await tx.execute(SQL["suppress"], refs, [members[ref] for ref in refs])
    for name in ("clear_cells", "delete_members", "delete_processed"):
        await tx.execute(SQL[name], refs)


async def _write(
    tx: Database,
    states: Sequence[State],
    members: Sequence[MemberRow],
    processed: Sequence[ProcessedRow],
    records: Sequence[Record],
    now: datetime,
) -> None:
    """Write all rows in one statement: a round trip costs more than most of what it carries."""
    await tx.execute(
        SQL["write_states"],
        now,
        *_columns(map(_watermark, states), WATERMARK_COLUMNS),
        *_columns(map(_member_columns, members), len(fields(MemberRow))),
        *_columns(map(_processed_columns, processed), len(fields(ProcessedRow))),
        *columns(records),
    )


def _watermark(s: State) -> tuple[Any, ...]:
    return (
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


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Return rows as one array for each of so many columns."""
    return [list(column) for column in zip(*rows, strict=True)] or [[]] * width


async def _write_gaps(tx: Database, changes: Sequence[Change]) -> None:
    pairs = [(a.member_ref, set(b.gaps), set(a.gaps)) for b, a in changes if b.gaps != a.gaps]
    closed = [(ref, g.after) for ref, before, after in pairs for g in before - after]
    opened = [(ref, g.after, g.upto, g.noticed_at) for ref, before, after in pairs for g in after - before]
    if closed:
        await tx.execute(SQL["delete_gaps"], *_columns(closed, 2))
    if opened:
        await tx.execute(SQL["insert_gaps"], *_columns(opened, 4))


async def _delete(tx: Database, name: str, rows: Sequence[tuple[Row | None, Row | None]]) -> None:
    gone = [before.member_ref for before, after in rows if before is not None and after is None]
    if gone:
        await tx.execute(SQL[name], gone)


def _new(rows: Sequence[tuple[Row | None, Row | None]]) -> list[Row]:
    return [after for before, after in rows if after is not None and after != before]

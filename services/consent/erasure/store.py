"""The rows of a destruction. Every write is in the caller's transaction, under the lock of the case."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from services.consent.erasure.model import Case, Gate
from services.consent.store import SQL
from services.policy.erasure import Schedule
from services.runtime.postgres import Connection

KIND: Final = "erasure"
"""The kind of its register entries."""


async def insert(tx: Connection, case: Case) -> bool:
    """Insert a new case; False when the member has one."""
    s = case.schedule
    row = (case.erasure_id, case.member_ref, case.class_id, case.state, case.selected_at, case.selected_by)
    dates = (case.duty_subject, s.due_on, s.execute_from, s.start_by, s.shred_by)
    return bool(await tx.execute(SQL["erasure_insert"], *row, *dates, case.standing_version) == "INSERT 0 1")


async def lock(tx: Connection, ref: str) -> Case | None:
    """Return a case by its own id or its member's, locked until the transaction ends; None when there is none."""
    row = await tx.fetchrow(SQL["erasure_lock"], ref)
    return case_of(row) if row else None


async def lock_free(tx: Connection, erasure_ids: Sequence[str]) -> list[Case]:
    """Return these cases but those that somebody is at work on: they are theirs."""
    return [case_of(row) for row in await tx.fetch(SQL["erasure_lock_free"], erasure_ids)]


def case_of(row: asyncpg.Record) -> Case:
    """Return the model's case of a row."""
    return Case(
        erasure_id=row["erasure_id"],
        member_ref=row["member_ref"],
        class_id=row["class"],
        state=row["state"],
        selected_at=row["selected_at"],
        selected_by=row["selected_by"],
        duty_subject=row["duty_subject"],
        schedule=Schedule(row["due_on"], row["execute_from"], row["start_by"], row["shred_by"]),
        standing_version=row["standing_version"],
        asked_at=row["asked_at"],
        approved_at=row["approved_at"],
        approved_by=row["approved_by"],
        held=row["held"],
        change_id=row["change_id"],
        forced=row["forced"],
    )


async def update(tx: Connection, case: Case) -> None:
    """Write what a step of the model may change."""
    s = case.schedule
    dates = (case.duty_subject, s.due_on, s.execute_from, s.start_by, s.shred_by)
    told = (case.asked_at, case.approved_at, case.approved_by, case.held, case.change_id, case.forced)
    await tx.execute(SQL["erasure_update"], case.erasure_id, case.state, *dates, *told)


async def unanswered(tx: Connection, change_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return by change who has not erased yet: a dead letter is no answer here."""
    rows = await tx.fetch(SQL["erasure_unanswered"], change_ids)
    return {row["change_id"]: tuple(row["recipients"]) for row in rows}


async def open_hold(tx: Connection, hold_id: str, erasure_id: str, reason: str, at: datetime, by: str) -> None:
    """Note why and by whom a case is paused."""
    await tx.execute(SQL["erasure_hold"], hold_id, erasure_id, reason, at, by)


async def close_holds(tx: Connection, erasure_id: str, at: datetime, by: str) -> list[str]:
    """Note by whom every pause of a case was ended; return the holds' ids."""
    return [row["hold_id"] for row in await tx.fetch(SQL["erasure_lift"], erasure_id, at, by)]


async def close_hold(tx: Connection, hold_id: str, erasure_id: str, at: datetime, by: str) -> bool:
    """Note by whom one pause of a case was ended; False when it does not stand, or is another case's."""
    return bool(await tx.execute(SQL["hold_lifted"], hold_id, erasure_id, at, by) == "UPDATE 1")


async def wipe(tx: Connection, member_refs: Sequence[str], at: datetime) -> None:
    """Take what is left of members but pseudonymous evidence, free the e-mails, and keep the references suppressed."""
    await tx.execute(SQL["erasure_wipe"], member_refs, at)


async def all_answered(tx: Connection, erasure_ids: Sequence[str]) -> list[Case]:
    """Note that nobody owes an answer any more; return the cases of which somebody else had not noted it before."""
    return [case_of(row) for row in await tx.fetch(SQL["erasure_answered"], erasure_ids)]


async def records_ended(tx: Connection, erasure_ids: Sequence[str], at: datetime) -> list[Case]:
    """Note that every statutory record has arrived; return the cases of which nobody had noted it before."""
    return [case_of(row) for row in await tx.fetch(SQL["erasure_records_ended"], erasure_ids, at)]


async def start(tx: Connection, started: Sequence[tuple[Case, int]], at: datetime) -> None:
    """Note which change says it, and how many statutory records are on their way."""
    rows = [
        {"erasure_id": case.erasure_id, "change_id": case.change_id, "forced": case.forced, "records": records}
        for case, records in started
    ]
    await tx.execute(SQL["erasure_start"], rows, at)


async def finish(tx: Connection, done: Sequence[tuple[Case, Gate]], at: datetime) -> None:
    """Note that the keys are destroyed, and who still owes an answer then."""
    rows = [
        {"erasure_id": case.erasure_id, "forced": case.forced, "unanswered": list(gate.unanswered)}
        for case, gate in done
    ]
    await tx.execute(SQL["erasure_finish"], rows, at)

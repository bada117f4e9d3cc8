"""The rows of a destruction. Every write is in the caller's transaction, under the lock of the case."""

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


async def lock_free(tx: Connection, erasure_id: str) -> Case | None:
    """Return a case unless somebody is at work on it: then it is theirs."""
    row = await tx.fetchrow(SQL["erasure_lock_free"], erasure_id)
    return case_of(row) if row else None


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


async def unanswered(tx: Connection, change_id: str | None) -> tuple[str, ...]:
    """Return who has not erased yet: a dead letter is no answer here."""
    rows = await tx.fetch(SQL["erasure_unanswered"], change_id)
    return tuple(row["recipient"] for row in rows)


async def open_hold(tx: Connection, hold_id: str, erasure_id: str, reason: str, at: datetime, by: str) -> None:
    """Note why and by whom a case is paused."""
    await tx.execute(SQL["erasure_hold"], hold_id, erasure_id, reason, at, by)


async def close_holds(tx: Connection, erasure_id: str, at: datetime, by: str) -> list[str]:
    """Note by whom every pause of a case was ended; return the holds' ids."""
    return [row["hold_id"] for row in await tx.fetch(SQL["erasure_lift"], erasure_id, at, by)]


async def close_hold(tx: Connection, hold_id: str, erasure_id: str, at: datetime, by: str) -> bool:
    """Note by whom one pause of a case was ended; False when it does not stand, or is another case's."""
    return bool(await tx.execute(SQL["hold_lifted"], hold_id, erasure_id, at, by) == "UPDATE 1")


async def wipe(tx: Connection, member_ref: str, at: datetime) -> None:
    """Take what is left of a member but pseudonymous evidence, free the e-mail, and keep the reference suppressed."""
    await tx.execute(SQL["erasure_wipe"], member_ref, at)


async def all_answered(tx: Connection, erasure_id: str) -> Case | None:
    """Note that nobody owes an answer any more; None when that was noted: then somebody else has settled it."""
    row = await tx.fetchrow(SQL["erasure_answered"], erasure_id)
    return case_of(row) if row else None


async def records_ended(tx: Connection, erasure_id: str, at: datetime) -> Case | None:
    """Note that every statutory record has arrived; None when that was noted: then somebody else has settled it."""
    row = await tx.fetchrow(SQL["erasure_records_ended"], erasure_id, at)
    return case_of(row) if row else None


async def finish(tx: Connection, case: Case, gate: Gate, at: datetime) -> None:
    """Note that the key is destroyed, and who still owes an answer then."""
    await tx.execute(SQL["erasure_finish"], case.erasure_id, at, case.forced, list(gate.unanswered))

"""Legal holds on a case: put here or in the retention process, known by their id in both, ended by either.

A case is paused while one stands. Each step is told by a register entry (`legal_hold`), which the audit log keeps and
the retention process obeys; its own come back the same way (services/retention/holds.py).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from aiokafka import ConsumerRecord
from uuid_utils import uuid7

from schemas.base import ActorKind
from schemas.receipts import HOLD_KIND
from services.consent import duties, register
from services.consent.erasure import model, store
from services.consent.erasure.model import Case
from services.consent.store import SQL
from services.policy.erasure import DUTY, catalogue
from services.runtime.hold_record import HoldStep, steps
from services.runtime.postgres import Connection

if TYPE_CHECKING:  # a confirmed withdrawal selects through this module
    from services.consent.handlers import Consent

HERE: Final = "consent"
THERE: Final = "retention"


async def put(tx: Connection, case: Case, reason: str, by: str, at: datetime) -> Case:
    """Pause a case and tell the retention process. Problem 409 when it is destroyed, or a hold stands."""
    after = model.hold(case)
    hold_id = str(uuid7())
    await _paused(tx, case, hold_id, reason, by, at)
    await _tell(tx, case.member_ref, hold_id, "held", at, {"reason": reason})
    return after


async def end(tx: Connection, case: Case, by: str, at: datetime) -> Case:
    """End every hold on a case and tell the retention process; the law's days run anew. Problem 409 without one."""
    after = model.lift(case, catalogue(), str(uuid7()), at)
    for hold_id in await store.close_holds(tx, case.erasure_id, at, by):
        await _tell(tx, case.member_ref, hold_id, "lifted", at, {})
    await _resumed(tx, after, at)
    return after


async def selected(tx: Connection, case: Case) -> Case:
    """Pause a new case whose member was put on hold before."""
    rows = await tx.fetch(SQL["hold_ahead_taken"], case.member_ref)
    for row in rows:
        await store.open_hold(tx, row["hold_id"], case.erasure_id, row["reason"], row["held_at"], THERE)
    if not rows:
        return case
    await duties.close_duty(tx, DUTY, case.duty_subject, case.selected_at, "held")
    await _entry(tx, case, "held", case.selected_at, {"reason": rows[0]["reason"]}, "system")
    after = model.hold(case)
    await store.update(tx, after)
    return after


async def obey(consent: "Consent", tx: Connection, batch: "Sequence[ConsumerRecord[Any, Any]]") -> None:
    """Take the retention process's holds and lifts from the receipts topic; the same batch again changes nothing."""
    for told in steps(batch, THERE):
        case = await _case(tx, told.member_ref)
        if told.held and await tx.fetchval(SQL["hold_known"], told.hold_id):
            continue
        if case is None or case.state == "erased":
            await _ahead(tx, told)
        elif told.held:
            await _held_there(tx, case, told)
        else:
            await _lifted_there(tx, case, told, consent.clock())
        consent.nudge()


async def _case(tx: Connection, member_ref: str) -> Case | None:
    """Return the member's case, locked; without one the member is locked, so that none is selected meanwhile."""
    case = await store.lock(tx, member_ref)
    if case is not None:
        return case
    await tx.execute(SQL["erasure_lock_members"], [member_ref])
    return await store.lock(tx, member_ref)


async def _ahead(tx: Connection, told: HoldStep) -> None:
    """Without a case, or after it, a hold is on the records that are still here."""
    if told.held:
        await tx.execute(SQL["hold_ahead"], told.hold_id, told.member_ref, told.reason, told.at)
    else:
        await tx.execute(SQL["hold_ahead_lifted"], told.hold_id)


async def _held_there(tx: Connection, case: Case, told: HoldStep) -> None:
    if case.held:
        await store.open_hold(tx, told.hold_id, case.erasure_id, told.reason, told.at, THERE)
        return
    await _paused(tx, case, told.hold_id, told.reason, THERE, told.at)
    await store.update(tx, model.hold(case))


async def _lifted_there(tx: Connection, case: Case, told: HoldStep, at: datetime) -> None:
    ended = await store.close_hold(tx, told.hold_id, case.erasure_id, at, THERE)
    if not ended or await tx.fetchval(SQL["hold_open"], case.erasure_id):
        return
    after = model.lift(case, catalogue(), str(uuid7()), at)
    await _resumed(tx, after, at)
    await store.update(tx, after)


async def _paused(tx: Connection, case: Case, hold_id: str, reason: str, by: str, at: datetime) -> None:
    await store.open_hold(tx, hold_id, case.erasure_id, reason, at, by)
    await duties.close_duty(tx, DUTY, case.duty_subject, at, "held")
    await _entry(tx, case, "held", at, {"reason": reason}, "staff")


async def _resumed(tx: Connection, after: Case, at: datetime) -> None:
    await duties.open_duty(tx, DUTY, after.duty_subject, at, member_ref=after.member_ref)
    await _entry(tx, after, "lifted", at, {"due_on": after.schedule.due_on.isoformat()}, "staff")


async def _tell(tx: Connection, member_ref: str, hold_id: str, state: str, at: datetime, codes: dict[str, str]) -> None:
    told = {**codes, "place": HERE}
    await register.append(tx, HOLD_KIND, hold_id, state, at, actor="staff", member_ref=member_ref, codes=told)


async def _entry(tx: Connection, case: Case, state: str, at: datetime, codes: dict[str, str], actor: ActorKind) -> None:
    told = {"class": case.class_id, **codes}
    ref = case.member_ref
    await register.append(tx, store.KIND, case.erasure_id, state, at, actor=actor, member_ref=ref, codes=told)

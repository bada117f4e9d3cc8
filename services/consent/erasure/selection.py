"""A confirmed withdrawal selects its member for destruction, in the same transaction: nobody can be forgotten."""

from datetime import datetime

from uuid_utils import uuid7

from schemas.base import ActorKind
from services.consent import duties, register
from services.consent.erasure import holds, model, store
from services.consent.model import Step
from services.consent.records import Context
from services.policy.erasure import DUTY, catalogue
from services.runtime.postgres import Connection


async def follow(tx: Connection, step: Step, context: Context, by: str) -> None:
    """Select the member of a step that ends a membership; any other step changes nothing."""
    if step.change == "withdrawn":
        class_id = model.class_of(step.note)
        await select(tx, step.member.member_ref, class_id, by, context.at, actor=context.actor)


async def select(tx: Connection, member_ref: str, class_id: str, by: str, at: datetime, *, actor: ActorKind) -> None:
    """Open the case with its duty and register entry. A member who has a case keeps it."""
    case = model.selected(catalogue(), str(uuid7()), member_ref, class_id, by, at)
    if not await store.insert(tx, case):
        return
    await duties.open_duty(tx, DUTY, case.duty_subject, at, member_ref=member_ref)
    codes = {"class": class_id, "due_on": case.schedule.due_on.isoformat()}
    if case.standing_version:
        codes["standing"] = case.standing_version
    await register.append(
        tx, store.KIND, case.erasure_id, "selected", at, actor=actor, member_ref=member_ref, codes=codes
    )
    await holds.selected(tx, case)

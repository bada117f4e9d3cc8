"""Pure: one case of destruction, what is next for it, and what staff may do with it. No I/O, no clock.

selected ──approve──▶ approved ──start──▶ executing ──shred──▶ erased. A legal hold stops every arrow. At the limit the
start waits for no approval and the shred for no answer (PIPA 21): the case is `forced` and somebody is told.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from services.consent.model import Member, Step
from services.policy.erasure import Catalogue, Schedule
from services.runtime.problem import Problem

State = Literal["selected", "approved", "executing", "erased"]
Move = Literal["wait", "start", "shred"]
MEMBER_DELETED: Final = "deletion_request"


@dataclass(frozen=True)
class Case:
    """One member's destruction. `standing_version` is the standing approval it runs under, if there is one."""

    erasure_id: str
    member_ref: str
    class_id: str
    state: State
    selected_at: datetime
    selected_by: str
    duty_subject: str
    schedule: Schedule
    standing_version: str | None = None
    asked_at: datetime | None = None
    approved_at: datetime | None = None
    approved_by: str | None = None
    held: bool = False
    change_id: str | None = None
    forced: bool = False

    @property
    def confirmed(self) -> bool:
        """Whether a privacy officer has spoken on this very case."""
        return self.approved_at is not None


@dataclass(frozen=True)
class Gate:
    """What the shred waits for: recipients that have not erased, records not retained, messages not sent."""

    unanswered: tuple[str, ...] = ()
    retained: bool = True
    messages: int = 0


def class_of(note: str | None) -> str:
    """Return the class of a withdrawal by the note of its step."""
    return {"dormancy": "dormancy", "deletion_request": MEMBER_DELETED}.get(note or "", "withdrawal")


def selected(catalogue: Catalogue, erasure_id: str, member_ref: str, class_id: str, by: str, at: datetime) -> Case:
    """Return a new case: approved at once where its class has a standing approval in force."""
    standing = catalogue.classes[class_id].approval(at)
    return Case(
        erasure_id=erasure_id,
        member_ref=member_ref,
        class_id=class_id,
        state="approved" if standing else "selected",
        selected_at=at,
        selected_by=by,
        duty_subject=erasure_id,
        schedule=catalogue.schedule(at),
        standing_version=standing.version if standing else None,
    )


def next_move(case: Case, gate: Gate, now: datetime) -> Move:
    """Return what is due now. Doing it again after a crash is harmless: each move is asked for until it is stored."""
    if case.held or case.state == "erased":
        return "wait"
    if case.state == "executing":
        return "shred" if is_open(case, gate) or now >= case.schedule.shred_by else "wait"
    wanted = case.state == "approved" and (case.asked_at is not None or now >= case.schedule.execute_from)
    return "start" if wanted or now >= case.schedule.start_by else "wait"


def is_open(case: Case, gate: Gate) -> bool:
    """Say whether nothing keeps the key any more. Who asks for the execution by name waits for no message."""
    sent = gate.messages == 0 or case.asked_at is not None
    return not gate.unanswered and gate.retained and sent


def erase(member: Member) -> Step:
    """The step that tells every store to erase. The status turns `erased` with the shred, when it is true everywhere.

    Problem 409 for a member who has not left.
    """
    if member.status != "withdrawn":
        ko, en = "탈퇴가 확정된 회원만 파기할 수 있습니다.", "Only a member who has withdrawn can be erased."
        raise Problem(409, "not_withdrawn", ko, en)
    return Step(member, "erased")


def started(case: Case, change_id: str) -> Case:
    """The stop records and the statutory records are on their way."""
    return replace(case, state="executing", change_id=change_id, forced=case.state == "selected")


def shredded(case: Case, gate: Gate) -> Case:
    """The key is destroyed; `forced` when something was still owed, or nobody had approved."""
    return replace(case, state="erased", forced=case.forced or not is_open(case, gate))


def approve(case: Case, by: str, at: datetime) -> Case:
    """A privacy officer's word on this case: it lets an unapproved one run and confirms one that ran (7.3).

    Problem 403 for whoever selected it. Said again, it changes nothing.
    """
    if case.approved_at is not None:
        return case
    if by == case.selected_by:
        raise Problem(
            403,
            "selector_cannot_approve",
            "파기 대상을 선정한 사람은 승인할 수 없습니다. 다른 개인정보 보호책임자가 승인해야 합니다.",
            "Whoever selected a case may not approve it; another privacy officer must.",
        )
    state: State = "approved" if case.state == "selected" else case.state
    return replace(case, state=state, approved_at=at, approved_by=by)


def ask(case: Case, at: datetime) -> Case:
    """Execute now rather than after the wait. Problem 409 without an approval or under a hold; again is harmless."""
    if case.state == "selected":
        ko, en = "개인정보 보호책임자의 승인이 먼저 필요합니다.", "A privacy officer must approve it first."
        raise Problem(409, "approval_required", ko, en)
    if case.held:
        raise Problem(409, "erasure_held", "파기가 보류 중입니다.", "The destruction is on hold.")
    return case if case.state == "erased" or case.asked_at else replace(case, asked_at=at)


def hold(case: Case) -> Case:
    """Pause. Problem 409 when the key is gone already, or a hold stands."""
    if case.state == "erased":
        ko, en = "이미 파기되어 보류할 수 없습니다.", "It is destroyed already; nothing is left to hold."
        raise Problem(409, "already_erased", ko, en)
    if case.held:
        raise Problem(409, "already_held", "이미 보류 중입니다.", "A hold stands already.")
    return replace(case, held=True)


def lift(case: Case, catalogue: Catalogue, duty_subject: str, at: datetime) -> Case:
    """End the pause: the law's days run anew from now, and what was asked for before must be asked for again."""
    if not case.held:
        raise Problem(409, "not_held", "보류 중이 아닙니다.", "There is no hold.")
    return replace(case, held=False, schedule=catalogue.schedule(at), duty_subject=duty_subject, asked_at=None)

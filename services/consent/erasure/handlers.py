"""The verbs of a destruction for staff: approve or confirm, execute now, hold, lift; and how a case is shown."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.consent import duties, idempotency, register
from services.consent.erasure import holds, model, store
from services.consent.erasure.model import Case
from services.consent.erasure.saga import CONFIRM_DUTY
from services.consent.handlers import Consent
from services.consent.idempotency import Answer, Key
from services.consent.paging import Place
from services.consent.refusals import field
from services.consent.store import SQL
from services.policy.erasure import catalogue
from services.runtime.clock import KST
from services.runtime.postgres import Connection
from services.runtime.problem import Problem

PAGE: Final = 200
SHOWN: Final = (
    "erasure_id",
    "member_ref",
    "class",
    "state",
    "selected_at",
    "selected_by",
    "due_on",
    "execute_from",
    "standing_version",
    "asked_at",
    "approved_at",
    "approved_by",
    "held",
    "hold_reason",
    "held_at",
    "held_by",
    "started_at",
    "change_id",
    "records",
    "shredded_at",
    "forced",
    "unanswered",
)


@dataclass(frozen=True)
class Command:
    """One request of staff: who, on which case (by its id or its member's), with which idempotency key."""

    consent: Consent
    ref: str
    by: str
    key: Key | None


Verb = Callable[[Connection, Case, datetime], Awaitable[Case]]


async def approve(command: Command, reason: str) -> Answer:
    """Approve a case, or confirm one that ran without an approval of its own (7.3). 403 for who selected it."""

    async def verb(tx: Connection, case: Case, at: datetime) -> Case:
        after = model.approve(case, command.by, at)
        if after == case:
            return case
        await tx.execute(SQL["erasure_reason"], case.erasure_id, reason)
        ran = case.state == "erased"
        if ran:
            await duties.close_duty(tx, CONFIRM_DUTY, case.erasure_id, at, "confirmed")
        await _entry(tx, case, "confirmed" if ran else "approved", at, {"by": "cpo"})
        return after

    return await _run(command, verb)


async def execute(command: Command) -> Answer:
    """Let an approved case run at the saga's next look: 202. 409 without an approval or under a hold."""

    async def verb(tx: Connection, case: Case, at: datetime) -> Case:
        after = model.ask(case, at)
        if after != case:
            await tx.execute(SQL["erasure_asked_by"], case.erasure_id, command.by)
            await _entry(tx, case, "asked", at, {})
        return after

    return await _run(command, verb, status=202)


async def hold(command: Command, reason: str) -> Answer:
    """Pause for a coded reason; the duty ends as `held`. 409 when nothing is left to hold."""
    if reason not in catalogue().holds:
        known = ", ".join(sorted(catalogue().holds))
        raise field(
            422,
            "unknown_reason",
            "/reason",
            f"보류 사유를 확인해 주세요. 가능한 값: {known}",
            f"Unknown reason. Choose from: {known}",
        )

    async def verb(tx: Connection, case: Case, at: datetime) -> Case:
        return await holds.put(tx, case, reason, command.by, at)

    return await _run(command, verb)


async def lift(command: Command) -> Answer:
    """End the pause: the destruction runs again, with the law's days from now. 409 when there is none."""

    async def verb(tx: Connection, case: Case, at: datetime) -> Case:
        return await holds.end(tx, case, command.by, at)

    return await _run(command, verb)


async def _run(command: Command, verb: Verb, *, status: int = 200) -> Answer:
    """Recall, lock the case, do, write, remember, commit: what the saga does to a case waits meanwhile."""
    consent = command.consent
    async with consent.pool.acquire() as tx, tx.transaction():
        if stored := await idempotency.recall(tx, command.key):
            return stored
        case = await store.lock(tx, command.ref)
        if case is None:
            raise erasure_not_found()
        after = await verb(tx, case, consent.clock())
        if after != case:
            await store.update(tx, after)
        answer = Answer(status, _answered(after))
        await idempotency.remember(tx, command.key, answer)
    consent.nudge()
    return answer


def _answered(case: Case) -> dict[str, Any]:
    told = {"erasure_id": case.erasure_id, "member_ref": case.member_ref, "state": case.state, "held": case.held}
    return {**told, "due_on": case.schedule.due_on.isoformat(), "confirmed": case.confirmed}


async def listed(consent: Consent, state: str, place: Place) -> dict[str, Any]:
    """Return cases in order of selection, up to 200 behind a cursor: `{"erasures": [...], "next"}`."""
    today = consent.clock().astimezone(KST).date()
    rows = await consent.pool.fetch(place.query("erasure_list"), place.start, state, PAGE, today)
    return {"erasures": [shown(dict(row)) for row in rows], "next": rows[-1]["position"] if len(rows) == PAGE else None}


async def read(consent: Consent, ref: str) -> Mapping[str, Any]:
    """Return one case's row with what its recipients answered; 404 when there is none."""
    row = await consent.pool.fetchrow(SQL["erasure_read"], ref)
    if row is None:
        raise erasure_not_found()
    return dict(row)


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what staff see of a row: ids, dates and codes."""
    return {name: row[name] for name in SHOWN}


def erasure_not_found() -> Problem:
    """The answer for a case there is not."""
    return Problem(404, "erasure_not_found", "파기 건을 찾을 수 없습니다.", "There is no such destruction.")


async def _entry(tx: Connection, case: Case, state: str, at: datetime, codes: dict[str, str]) -> None:
    told = {"class": case.class_id, **codes}
    ref = case.member_ref
    await register.append(tx, store.KIND, case.erasure_id, state, at, actor="staff", member_ref=ref, codes=told)

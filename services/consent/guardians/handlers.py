"""A guardian is named (sealed under the child's key), confirms and so activates the member, or is forgotten.

Confirmed data stays sealed as the evidence of who consented (PIPA 22(3)); it dies with the member's key.
"""

from dataclasses import replace
from datetime import datetime

import orjson
import structlog
from uuid_utils import uuid7

from services.consent import duties, idempotency, model, register, sealing
from services.consent.bodies import ConsentBody
from services.consent.guardians.bodies import GuardianBody, GuardianConfirmBody
from services.consent.handlers import Caller, Consent, answer_of, change_within, consent_step, not_found
from services.consent.idempotency import Answer, Key
from services.consent.refusals import field
from services.consent.store import SQL
from services.policy.guardians import methods
from services.runtime.clock import KST
from services.runtime.postgres import Connection
from services.runtime.problem import Problem

DUTY = "guardian_destroy"
KIND = "guardian"
log = structlog.get_logger("guardians")


async def name_guardian(consent: Consent, ref: str, body: GuardianBody, caller: Caller, key: Key | None) -> Answer:
    """Keep who the guardian is until confirmed, five days at most; naming another replaces the first.

    201 `{"guardian_id", "due_on"}`; 409 unless the member waits for a guardian.
    """
    at = consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        await _require_pending(connection, ref)
        await _forget_unconfirmed(connection, ref, at)
        answer = Answer(201, await _record(consent, connection, ref, body, caller, at))
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def confirm(consent: Consent, ref: str, body: GuardianConfirmBody, caller: Caller, key: Key | None) -> Answer:
    """Activate the member under the guardian's verified consent: sharing begins now (clause 5.3, PIPA 22-2).

    409 unless the member waits for one; 422 for an unknown method, or without a guardian.
    """
    _require_method(body.method, "/method")
    at = consent.clock()
    guardian = replace(caller, actor="guardian")
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        step, context = await change_within(consent, connection, ref, model.confirm_guardian, guardian)
        found = await _named(consent, connection, ref, body.guardian, caller, at)
        await connection.execute(SQL["guardian_confirm"], ref, body.method, at, context.change_id)
        await duties.close_duty(connection, DUTY, found, at, "confirmed")
        codes = {"method": body.method, "change_id": context.change_id}
        await register.append(connection, KIND, found, "confirmed", at, actor="guardian", member_ref=ref, codes=codes)
        answer = answer_of(200, step, context)
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def consent_for(
    consent: Consent, ref: str, purpose: str, body: ConsentBody, if_match: str | None, caller: Caller, key: Key | None
) -> Answer:
    """Give or take back a child's consent in the name of its guardian, whom the method verified again (22-2(1)).

    The guardian is the one who was confirmed. 409 for a member who is no child, or whose guardian never was; 422 for
    an unknown method.
    """
    assert body.guardian is not None  # the route sends only those here
    method = body.guardian.method
    _require_method(method, "/guardian/method")
    step_of, version = consent_step(consent, purpose, body)
    guardian, at = replace(caller, actor="guardian"), consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        step, context = await change_within(consent, connection, ref, step_of, guardian, if_match, version=version)
        row = await connection.fetchrow(SQL["guardian_read"], ref)
        if row is None or row["confirmed_at"] is None:
            raise _nobody_confirmed()
        found, codes = str(row["guardian_id"]), {"method": method, "purpose": purpose, "change_id": context.change_id}
        state = "consented" if body.granted else "revoked"
        await register.append(connection, KIND, found, state, at, actor="guardian", member_ref=ref, codes=codes)
        answer = answer_of(200, step, context)
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def purge_unconfirmed(consent: Consent, now: datetime) -> int:
    """Destroy guardians' data that nobody confirmed by its last day (standard guideline; A10b); return how many."""
    async with consent.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(SQL["guardian_overdue"], now.astimezone(KST).date())
        await connection.execute(SQL["guardian_destroy"], [row["guardian_id"] for row in rows])
        for row in rows:
            await _destroyed(connection, row["guardian_id"], row["member_ref"], now)
    if rows:
        consent.nudge()
        log.info("guardians_destroyed", count=len(rows))
    return len(rows)


async def _require_pending(tx: Connection, ref: str) -> None:
    """Under the member's row lock, so that a confirmation cannot slip in between."""
    status = await tx.fetchval("SELECT status FROM member WHERE member_ref = $1 FOR UPDATE", ref)
    if status is None:
        raise not_found()
    if status != "pending_guardian":
        raise model.not_pending()


async def _named(
    consent: Consent, tx: Connection, ref: str, body: GuardianBody | None, caller: Caller, at: datetime
) -> str:
    """Return the id of the guardian who confirms: the one of the body, or the one named before."""
    if body is not None:
        await _forget_unconfirmed(tx, ref, at)
        return str((await _record(consent, tx, ref, body, caller, at))["guardian_id"])
    row = await tx.fetchrow(SQL["guardian_read"], ref)
    if row is None:
        raise field(
            422,
            "guardian_required",
            "/guardian",
            "법정대리인의 이름과 연락처가 필요합니다.",
            "Name the guardian and a way to reach them.",
        )
    return str(row["guardian_id"])


def _nobody_confirmed() -> Problem:
    return field(
        409,
        "guardian_not_confirmed",
        "/guardian",
        "확인된 법정대리인이 없습니다. 생년월일 정정 요구를 처리하면 법정대리인의 확인을 기다리는 상태가 됩니다.",
        "No guardian was confirmed. Granting a correction of the birth date makes the member wait for one.",
    )


async def _record(
    consent: Consent, tx: Connection, ref: str, body: GuardianBody, caller: Caller, at: datetime
) -> dict[str, str]:
    guardian_id = str(uuid7())
    data_key = await consent.keyring.data_key(ref)
    sealed = sealing.seal(data_key, ref, f"guardian/{guardian_id}", orjson.dumps(body.model_dump()))
    due_on = await duties.open_duty(tx, DUTY, guardian_id, at, member_ref=ref)
    await tx.execute(SQL["guardian_record"], guardian_id, ref, sealed, caller.channel, at, due_on)
    await register.append(tx, KIND, guardian_id, "named", at, actor=caller.actor, member_ref=ref)
    return {"guardian_id": guardian_id, "due_on": due_on.isoformat()}


async def _forget_unconfirmed(tx: Connection, ref: str, at: datetime) -> None:
    row = await tx.fetchrow(SQL["guardian_read"], ref)
    if row is not None:
        await tx.execute(SQL["guardian_drop"], ref)
        await _destroyed(tx, row["guardian_id"], ref, at)


async def _destroyed(tx: Connection, guardian_id: str, ref: str, at: datetime) -> None:
    await duties.close_duty(tx, DUTY, guardian_id, at, "destroyed")
    await register.append(tx, KIND, guardian_id, "destroyed", at, actor="system", member_ref=ref)


def _require_method(method: str, pointer: str) -> None:
    known = methods()
    if method not in known:
        names = ", ".join(known)
        raise field(
            422,
            "unknown_method",
            pointer,
            f"시행령 17조의2의 확인 방법이 아닙니다. 가능한 값: {names}",
            f"Not a way of decree 17-2. Choose from: {names}",
        )

"""Clause 10.2: inquiries to the privacy officer, with a clock. Texts are sealed under the member's data key.

Whoever is no member leaves no text and no address here: their inquiry is a reference to where they asked.
"""

from datetime import datetime
from typing import Any, Final

import asyncpg
from uuid_utils import uuid7

from schemas.base import ActorKind
from services.consent import duties, idempotency, register, sealing, statutory
from services.consent.access import OFFICERS
from services.consent.handlers import Caller, Consent, not_found
from services.consent.idempotency import Answer, Key
from services.consent.messages.queue import queue
from services.consent.refusals import field
from services.consent.registers.bodies import InquiryAnswerBody, InquiryBody, InquiryToldBody
from services.consent.reveals import who
from services.consent.statutory import RecordBody
from services.consent.store import SQL
from services.keyring.keyring import KeyDestroyedError, KeyUnknownError
from services.policy.contacts import subjects
from services.runtime.auth import Principal
from services.runtime.clock import KST
from services.runtime.postgres import Connection
from services.runtime.problem import Problem

PAGE: Final = 200
DUTY: Final = "inquiry_answer"


async def ask(consent: Consent, body: InquiryBody, key: Key | None) -> Answer:
    """Take an inquiry and route it. 422 for an unknown subject, a text of nobody's, or neither text nor reference."""
    at = consent.clock()
    received_at = body.received_at or at
    _checked(body, at)
    ref = str(uuid7())
    question = await _sealed(consent, body.member_ref, _label(ref, "question"), body.text)
    routed_to = subjects()[body.subject].routed_to
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        due_on = await duties.open_duty(connection, DUTY, ref, received_at, member_ref=body.member_ref)
        how = (body.subject, body.channel, body.reference, routed_to)
        await connection.execute(SQL["inquiry_insert"], ref, body.member_ref, *how, received_at, due_on, question)
        codes = {"subject": body.subject, "channel": body.channel, "due_on": due_on.isoformat()}
        await register.append(
            connection, "inquiry", ref, "received", at, actor="member", member_ref=body.member_ref, codes=codes
        )
        answer = Answer(201, {"id": ref, "state": "open", "routed_to": routed_to, "due_on": due_on.isoformat()})
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def answer(consent: Consent, ref: str, body: InquiryAnswerBody, by: str, key: Key | None) -> Answer:
    """Answer an inquiry; a member is sent word of it, and the clock runs until that has gone or `tell` says so.

    A complaint's answer leaves a statutory record (`kept_as` in rules/contacts.toml), anchored on this day.
    Problem 404 for none, 409 when answered, 422 for text of nobody's.
    """
    at = consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        row = await _answerable(connection, ref, body)
        sealed = await _sealed(consent, row["member_ref"], _label(ref, "answer"), body.text)
        await connection.execute(SQL["inquiry_answer"], ref, sealed, at, by)
        await _keep(consent, connection, row, body.text, by, at)
        await _word(connection, row, at)
        await register.append(connection, "inquiry", ref, "answered", at, actor="staff", member_ref=row["member_ref"])
        done = Answer(200, {"id": ref, "state": "answered"})
        await idempotency.remember(connection, key, done)
    consent.nudge()
    return done


async def tell(consent: Consent, ref: str, body: InquiryToldBody, key: Key | None) -> Answer:
    """Note that the member knows the answer by other ways than our message. 404 for none, 409 before the answer."""
    at = consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        row = await connection.fetchrow(SQL["inquiry_lock"], ref)
        if row is None:
            raise inquiry_not_found()
        if row["state"] == "open":
            ko = "아직 답변하지 않은 문의입니다. 먼저 답변을 등록해 주세요."
            raise Problem(409, "inquiry_not_answered", ko, "It is not answered yet. Enter the answer first.")
        await duties.close_duty(connection, DUTY, ref, at, "answered")
        told = ("inquiry", ref, "told", at)
        codes = {"told_by": body.told_by}
        await register.append(connection, *told, actor="staff", member_ref=row["member_ref"], codes=codes)
        done = Answer(200, {"id": ref, "state": "answered"})
        await idempotency.remember(connection, key, done)
    consent.nudge()
    return done


async def read(consent: Consent, ref: str, by: Principal) -> dict[str, Any]:
    """Return the inquiry with its texts in clear; they are None once the member's key is destroyed.

    A member reads its own: 404 for another's. That anybody else reads one is recorded before it is shown (safeguards
    notice 8), with who and from where.
    """
    row = await consent.pool.fetchrow(SQL["inquiry_read"], ref)
    handles = by.has("service", *OFFICERS)
    if row is None or not (handles or row["member_ref"] == by.sub):
        raise inquiry_not_found()
    texts = {part: await _opened(consent, row, part) for part in ("question", "answer")}
    if handles:
        await _note_reading(consent, row, by)
    return {**_shown(row), **texts}


async def _note_reading(consent: Consent, row: asyncpg.Record, by: Principal) -> None:
    actor: ActorKind = "staff" if by.has(*OFFICERS) else "service"
    told = ("inquiry", row["inquiry_id"], "read", consent.clock())
    async with consent.pool.acquire() as connection, connection.transaction():
        await register.append(connection, *told, actor=actor, member_ref=row["member_ref"], codes=who(by))
    consent.nudge()


async def listed(consent: Consent, state: str | None, after: int) -> dict[str, Any]:
    """Return inquiries in order of receipt, without texts, up to 200 behind a cursor."""
    rows = await consent.pool.fetch(SQL["inquiry_list"], after, state, PAGE)
    return {"inquiries": [_shown(r) for r in rows], "next": rows[-1]["position"] if len(rows) == PAGE else None}


def inquiry_not_found() -> Problem:
    """The answer for an inquiry there is not, and for one the caller may not see."""
    return Problem(404, "inquiry_not_found", "문의를 찾을 수 없습니다.", "There is no such inquiry.")


def _checked(body: InquiryBody, at: datetime) -> None:
    if body.subject not in subjects():
        known = ", ".join(sorted(subjects()))
        ko, en = f"알 수 없는 문의 종류입니다. 가능한 값: {known}", f"Unknown subject. Choose from: {known}"
        raise field(422, "unknown_subject", "/subject", ko, en)
    if body.received_at is not None and body.received_at > at:
        ko, en = "접수 시각은 지금보다 늦을 수 없습니다.", "It cannot have been received in the future."
        raise field(422, "received_in_future", "/received_at", ko, en)
    if body.text is not None and body.member_ref is None:
        raise _text_of_nobody()
    if body.text is None and body.reference is None:
        ko, en = "문의 내용이나 접수 번호가 필요합니다.", "It needs a text, or a reference to where it was asked."
        raise field(422, "text_or_reference_required", "/text", ko, en)


async def _answerable(tx: Connection, ref: str, body: InquiryAnswerBody) -> asyncpg.Record:
    """Lock the member and then the inquiry, in the order of an erasure."""
    await tx.execute(SQL["inquiry_lock_member"], ref)
    row = await tx.fetchrow(SQL["inquiry_lock"], ref)
    _may_answer(row, body)
    assert row is not None  # `_may_answer` refuses that
    return row


async def _word(tx: Connection, row: asyncpg.Record, at: datetime) -> None:
    """Send a member word of the answer; anybody else has it where they asked, and their clock ends here."""
    ref = row["inquiry_id"]
    if row["member_ref"] is None:
        await duties.close_duty(tx, DUTY, ref, at, "answered")
        return
    data = {"inquiry_id": ref, "answered_on": at}
    await queue(tx, "inquiry_answer", row["member_ref"], data, f"inquiry_answer/{ref}", at)


async def _keep(
    consent: Consent, tx: Connection, row: asyncpg.Record, answer: str | None, by: str, at: datetime
) -> None:
    """What was complained of and how it was dealt with outlives the inquiry, which ends with the member's key (2.1)."""
    kept_as = subjects()[row["subject"]].kept_as
    if kept_as is None or row["member_ref"] is None:
        return
    told = {
        "complaint_id": row["inquiry_id"],
        "subject": row["subject"],
        "reference": row["reference"],
        "opened_at": row["received_at"].astimezone(KST).isoformat(),
        "complaint": await _opened(consent, row, "question"),
        "answer": answer,
    }
    fields = {name: value for name, value in told.items() if value is not None}
    body = RecordBody.model_validate({"class": kept_as, "occurred_at": at, "fields": fields})
    await statutory.keep(consent, tx, row["member_ref"], body, Caller(by, "staff"))


def _may_answer(row: asyncpg.Record | None, body: InquiryAnswerBody) -> None:
    if row is None:
        raise inquiry_not_found()
    if row["state"] != "open":
        raise Problem(409, "inquiry_answered", "이미 답변한 문의입니다.", "This inquiry is answered already.")
    if row["member_ref"] is None and body.text is not None:
        raise _text_of_nobody()
    if row["member_ref"] is not None and body.text is None:
        raise field(
            422, "text_required", "/text", "회원에게 보일 답변이 필요합니다.", "A member is owed an answer in words."
        )


def _text_of_nobody() -> Problem:
    return field(
        422,
        "text_needs_member",
        "/text",
        "회원이 아니면 내용을 저장하지 않습니다. 접수 번호(reference)만 남겨 주세요.",
        "No text is kept of someone who is no member. Leave a reference only.",
    )


async def _sealed(consent: Consent, member_ref: str | None, label: str, text: str | None) -> bytes | None:
    if member_ref is None or text is None:
        return None
    try:
        data_key = await consent.keyring.data_key(member_ref)
    except (KeyDestroyedError, KeyUnknownError) as error:
        raise not_found() from error
    return sealing.seal(data_key, member_ref, label, text.encode())


async def _opened(consent: Consent, row: asyncpg.Record, part: str) -> str | None:
    if row[part] is None:
        return None
    try:
        data_key = await consent.keyring.data_key(row["member_ref"])
    except KeyDestroyedError:
        return None
    return sealing.unseal(data_key, row["member_ref"], _label(row["inquiry_id"], part), row[part]).decode()


def _label(ref: str, part: str) -> str:
    return f"inquiry/{ref}/{part}"


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    names = (
        "member_ref",
        "subject",
        "channel",
        "reference",
        "routed_to",
        "received_at",
        "due_on",
        "state",
        "answered_at",
    )
    return {"id": row["inquiry_id"], **{name: row[name] for name in names}}

"""The register of correction notices (5.7): third parties pull what they missed and answer; staff enter answers."""

import uuid
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.receipts import CODED_VALUE, RECEIPT_TYPE, Receipt
from schemas.topics import RECEIPTS
from services.consent import records, register
from services.consent.bodies import AcknowledgementBody
from services.consent.corrections import answers
from services.consent.corrections.answers import Via
from services.consent.handlers import Consent
from services.consent.paging import Place
from services.consent.refusals import field
from services.consent.store import SQL
from services.runtime import outbox
from services.runtime.postgres import Connection
from services.runtime.problem import Problem

PAGE: Final = 100
NUMBERED: Final = 1000
KIND: Final = "notice"


@dataclass(frozen=True)
class Answerer:
    """Who answers: a third party for itself (`recipient`), staff by name (`staff`), or a service for anybody."""

    recipient: str | None = None
    staff: str | None = None

    @property
    def via(self) -> Via:
        """The way the answer came."""
        return "staff" if self.staff is not None else "callback"


async def listed(consent: Consent, recipient: str, after: int) -> dict[str, Any]:
    """Return up to 100 notices of a recipient behind a cursor, in order of the cursor; values are not in it.

    A notice gets its cursor here, under a lock of its recipient: what commits later always comes later.
    """
    async with consent.pool.acquire() as connection, connection.transaction():
        await connection.execute(SQL["lock_notice_list"], recipient)
        await connection.execute(SQL["number_notices"], recipient, NUMBERED)
        rows = await connection.fetch(SQL["list_notices"], recipient, after, PAGE)
    following = str(rows[-1]["cursor"]) if len(rows) == PAGE else None
    return {"notices": [dict(row) for row in rows], "next": following}


async def listed_all(consent: Consent, place: Place, *, unanswered: bool) -> dict[str, Any]:
    """Return the notices of every recipient, each with whom it is for, in order of their making: what staff look at.

    `unanswered` beside them is how many wait for an answer, whatever the page shows.
    """
    name = "list_open_notices" if unanswered else "list_all_notices"
    rows = await consent.pool.fetch(place.query(name), place.start, PAGE)
    following = str(rows[-1]["cursor"]) if len(rows) == PAGE else None
    waiting = await consent.pool.fetchval(SQL["count_open_notices"])
    return {"notices": [dict(row) for row in rows], "next": following, "unanswered": waiting}


async def acknowledge(consent: Consent, notice_id: str, who: Answerer, body: AcknowledgementBody) -> str:
    """Take an answer and return the outcome that stands; a repeated one changes nothing.

    A refusal can be taken back later; any other answer stands. Problem 404 for a notice that is not the caller's,
    409 `notice_answered` for a staff entry against an answer that stands, 422 for one without evidence.
    """
    _check(who, body)
    async with consent.pool.acquire() as connection, connection.transaction():
        row = await locked(connection, notice_id, who.recipient)
        standing: str | None = row["outcome"]
        if standing is None or (standing == "refused" and body.outcome != "refused"):
            await _take(consent, connection, row, who, body)
        elif who.staff is not None and standing != body.outcome:
            raise already_ended(standing)
        elif who.staff is not None and standing == "refused" and row["answered_via"] != "staff":
            await _confirm_refusal(consent, connection, row, who, body)
        else:
            return standing
    consent.nudge()
    return body.outcome


async def _take(
    consent: Consent, tx: Connection, row: asyncpg.Record, who: Answerer, body: AcknowledgementBody
) -> None:
    receipt = _receipt(consent, row, body)
    await answers.record(tx, [receipt], who.via, body.evidence)
    await outbox.append(tx, [_carrier(receipt)])
    await _note_answer(consent, tx, row, who, body)


async def _confirm_refusal(
    consent: Consent, tx: Connection, row: asyncpg.Record, who: Answerer, body: AcknowledgementBody
) -> None:
    """The receipt of the refusal is there already; what is new is that staff have seen it, and its end as a duty."""
    await tx.execute(SQL["confirm_refusal"], row["notice_id"], body.evidence)
    await tx.execute(SQL["close_notice_duties"], [row["change_id"]], [row["recipient"]], list(answers.KINDS))
    await _note_answer(consent, tx, row, who, body)


async def _note_answer(
    consent: Consent, tx: Connection, row: asyncpg.Record, who: Answerer, body: AcknowledgementBody
) -> None:
    if who.staff is not None:
        codes = {"outcome": body.outcome, "reason": body.reason, "evidence": body.evidence, "by": who.staff}
        await note(consent, tx, row, "answered", codes)


async def locked(tx: Connection, notice_id: str, recipient: str | None = None) -> asyncpg.Record:
    """Return a notice, held against other answers; Problem 404 when it is not there or not this recipient's.

    The delivery first, as the receipts consumer does it: two answers at once wait, and never for each other.
    """
    await tx.execute(SQL["lock_delivery_of_notice"], notice_id)
    row = await tx.fetchrow(SQL["read_notice"], notice_id)
    if row is None or (recipient is not None and row["recipient"] != recipient):
        raise notice_not_found()
    return row


def notice_not_found() -> Problem:
    """The answer for a notice there is not, and for one of somebody else's."""
    return Problem(404, "notice_not_found", "통지를 찾을 수 없습니다.", "There is no such notice.")


def already_ended(outcome: str) -> Problem:
    """The refusal of what staff want to do about a notice that has ended."""
    ko, en = f"이미 끝난 통지입니다({outcome}).", f"This notice has ended already ({outcome})."
    return Problem(409, "notice_answered", ko, en)


async def note(consent: Consent, tx: Connection, row: asyncpg.Record, state: str, codes: dict[str, str | None]) -> None:
    """Hand what staff did about a notice to the audit log: codes, and who did it where that is an id."""
    told = {name: value for name, value in codes.items() if value is not None and CODED_VALUE.fullmatch(value)}
    ref = row["member_ref"]
    at = consent.clock()
    await register.append(tx, KIND, row["notice_id"], state, at, actor="staff", member_ref=ref, codes=told)


def _check(who: Answerer, body: AcknowledgementBody) -> None:
    if who.staff is None and body.evidence is not None:
        ko, en = "evidence는 담당자가 대신 입력할 때만 씁니다.", "Only an answer that staff enter has evidence."
        raise field(422, "evidence_of_staff_only", "/evidence", ko, en)
    if who.staff is not None and body.evidence is None:
        ko = "답변을 확인할 수 있는 문서 번호(evidence)가 필요합니다."
        raise field(422, "evidence_required", "/evidence", ko, "Name the document that shows the answer.")
    if who.staff is not None and body.outcome == "refused" and body.reason is None:
        raise field(
            422, "reason_required", "/reason", "거절 사유 코드가 필요합니다.", "A refusal needs its reason's code."
        )


def _receipt(consent: Consent, row: asyncpg.Record, body: AcknowledgementBody) -> Receipt:
    return Receipt(
        change_id=row["change_id"],
        member_ref=row["member_ref"],
        seq=row["seq"],
        recipient=row["recipient"],
        kind="third_party",
        stage="refused" if body.outcome == "refused" else "applied",
        at=consent.clock(),
        outcome=body.outcome,
        reason=body.reason,
    )


def _carrier(receipt: Receipt) -> outbox.Record:
    envelope = Envelope(
        id=str(uuid.uuid5(uuid.UUID(receipt.change_id), f"{receipt.recipient}/callback/{receipt.outcome}")),
        type=RECEIPT_TYPE,
        source=records.SOURCE,
        subject=receipt.member_ref,
        sequence=receipt.seq,
        previous=0,
        time=receipt.at,
        dataschema="urn:dongui:receipt:v1",
        content_type="application/json",
        change_id=receipt.change_id,
    )
    return outbox.Record(
        envelope.id,
        RECEIPTS,
        envelope.subject,
        envelope.type,
        codec.encode_clear(receipt, envelope),
        to_headers(envelope),
    )

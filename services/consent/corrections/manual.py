"""Notices that staff send by e-mail or post (5.7): not every third party has a server."""

from datetime import datetime
from typing import Final, Literal

import asyncpg

from schemas.receipts import CodedValue
from services.consent import duties, idempotency
from services.consent.bodies import Body
from services.consent.corrections import answers, register
from services.consent.handlers import Consent
from services.consent.idempotency import Answer, Key
from services.consent.refusals import field
from services.consent.store import SQL
from services.runtime.fields import Instant

SENT: Final = "sent"


class ManualBody(Body):
    """POST /v1/notices/{id}/manual. `evidence` names the letter or mail (a number, a hash), never its content."""

    channel: Literal["email", "post"]
    sent_at: Instant
    evidence: CodedValue


async def sent(consent: Consent, notice_id: str, body: ManualBody, by: str, key: Key | None) -> Answer:
    """Record that a notice was sent by hand; the duty to send it ends, and that of its answer is open from here.

    201. Problem 404 for none, 409 when it needs no sending any more, 422 for an instant that cannot be.
    """
    at = consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        row = await register.locked(connection, notice_id)
        _check(row, body, at)
        values = (notice_id, body.channel, body.sent_at, body.evidence, by, at)
        await connection.execute(SQL["insert_sending"], *values)
        await duties.close_duty(connection, answers.MANUAL_DUTY, notice_id, at, SENT)
        since, ref = row["created_at"], row["member_ref"]
        due_on = await duties.open_duty(connection, answers.ANSWER_DUTY, notice_id, since, member_ref=ref)
        codes: dict[str, str | None] = {"channel": body.channel, "sent_at": body.sent_at.isoformat()}
        await register.note(consent, connection, row, SENT, {**codes, "evidence": body.evidence, "by": by})
        shown = {"notice_id": notice_id, **body.model_dump(mode="json"), "answer_due_on": due_on.isoformat()}
        answer = Answer(201, shown)
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


def _check(row: asyncpg.Record, body: ManualBody, at: datetime) -> None:
    if row["outcome"] is not None and row["outcome"] != "refused":
        raise register.already_ended(row["outcome"])
    if body.sent_at > at:
        ko, en = "보낸 시각은 지금보다 늦을 수 없습니다.", "It cannot have been sent in the future."
        raise field(422, "sent_in_future", "/sent_at", ko, en)
    if body.sent_at < row["created_at"]:
        ko, en = "보낸 시각은 정정보다 앞설 수 없습니다.", "It cannot have been sent before the correction."
        raise field(422, "sent_before_correction", "/sent_at", ko, en)

"""The register of correction notices (5.7) as third parties see it: pull what was missed, acknowledge by callback."""

import uuid
from typing import Any

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.receipts import RECEIPT_TYPE, Receipt
from schemas.topics import RECEIPTS
from services.consent import records
from services.consent.bodies import AcknowledgementBody
from services.consent.handlers import Consent
from services.consent.store import SQL
from services.runtime import outbox
from services.runtime.problem import Problem

PAGE = 100


async def listed(consent: Consent, recipient: str, after: int) -> dict[str, Any]:
    """Return up to 100 notices of a recipient behind a cursor, oldest first; values are not in it."""
    rows = await consent.pool.fetch(SQL["list_notices"], recipient, after, PAGE)
    notices = [dict(row) for row in rows]
    following = str(rows[-1]["cursor"]) if len(rows) == PAGE else None
    return {"notices": notices, "next": following}


async def listed_all(consent: Consent, after: int) -> dict[str, Any]:
    """Return the same for every recipient, each notice with whom it is for: what staff look at."""
    rows = await consent.pool.fetch(SQL["list_all_notices"], after, PAGE)
    following = str(rows[-1]["cursor"]) if len(rows) == PAGE else None
    return {"notices": [dict(row) for row in rows], "next": following}


async def acknowledge(consent: Consent, notice_id: str, recipient: str | None, body: AcknowledgementBody) -> None:
    """Take a third party's answer; a repeated one changes nothing. 404 for a notice that is not the caller's."""
    async with consent.pool.acquire() as connection, connection.transaction():
        # The delivery first, as the receipts consumer does it: two answers at once wait, and never for each other.
        await connection.execute(SQL["lock_delivery_of_notice"], notice_id)
        row = await connection.fetchrow(SQL["read_notice"], notice_id)
        if row is None or (recipient is not None and row["recipient"] != recipient):
            raise Problem(404, "notice_not_found", "통지를 찾을 수 없습니다.", "There is no such notice.")
        if row["acknowledged_at"] is not None:
            return
        receipt = _receipt(consent, row, body)
        await connection.execute(
            SQL["record_answers"],
            [receipt.change_id],
            [receipt.recipient],
            [receipt.stage],
            [receipt.at],
            [receipt.outcome],
            [receipt.reason],
        )
        await outbox.append(connection, [_carrier(receipt)])
    consent.nudge()


def _receipt(consent: Consent, row: Any, body: AcknowledgementBody) -> Receipt:
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
        id=str(uuid.uuid5(uuid.UUID(receipt.change_id), f"{receipt.recipient}/callback")),
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

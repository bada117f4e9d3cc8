"""Pure: what leaves a member store through its outbox: receipts, and the records that nobody could read.

Ids are derived, so that a record read twice is answered and dead-lettered once.
"""

from datetime import date, datetime

from uuid_utils import UUID, uuid5

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.receipts import RECEIPT_TYPE, Receipt, Stage
from schemas.topics import RECEIPTS
from services.runtime.dead_letter import ERROR_HEADER, NAMESPACE, ORIGIN_HEADER, dead_letter
from services.runtime.outbox import Record


def receipt_id(affiliate: str, change_id: str, stage: Stage, day: date | None = None) -> str:
    """Return the id of a receipt; with `day` that of one told again, once on any day.

    Under the first one's id with an instant of its own the log would take it for a re-used id.
    """
    name = f"{affiliate}/{stage}" if day is None else f"{affiliate}/{stage}/again/{day.isoformat()}"
    return str(uuid5(UUID(change_id), name))


def receipt(
    affiliate: str,
    change_id: str | None,
    member_ref: str,
    seq: int,
    stage: Stage,
    at: datetime,
    reason: str | None = None,
    *,
    again: bool = False,
) -> Record | None:
    """Return the receipt of one change at this affiliate; None when the change has no known id.

    `again`: the first one may have left already, and did not arrive.
    """
    if change_id is None:
        return None
    shape = Receipt(
        change_id=change_id,
        member_ref=member_ref,
        seq=seq,
        recipient=affiliate,
        kind="affiliate",
        stage=stage,
        at=at,
        reason=reason,
    )
    env = Envelope(
        id=receipt_id(affiliate, change_id, stage, at.date() if again else None),
        type=RECEIPT_TYPE,
        source=f"/dongui/propagator/{affiliate}",
        subject=member_ref,
        sequence=seq,
        previous=seq - 1,
        time=at,
        dataschema="urn:dongui:receipt:v1",
        content_type="application/json",
        change_id=change_id,
    )
    return Record(env.id, RECEIPTS, member_ref, env.type, codec.encode_clear(shape, env), to_headers(env))


__all__ = ["ERROR_HEADER", "NAMESPACE", "ORIGIN_HEADER", "dead_letter", "receipt", "receipt_id"]

"""Pure: what leaves the retention database: receipts of records, and entries of readings and destructions.

A receipt's id is derived from the record's, so that a record that comes twice is answered once.
"""

from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID, uuid5

from schemas import codec
from schemas.codec import RETENTION_PARTY
from schemas.envelope import Envelope, to_headers
from schemas.receipts import RECEIPT_TYPE, Receipt, Stage
from schemas.topics import RECEIPTS
from services.runtime import register_record
from services.runtime.outbox import Record

SOURCE: Final = "/dongui/retention"
entry: Final = partial(register_record.made, SOURCE)
"""A register entry for the audit log; every value is coded."""


def receipt(of: Envelope, stage: Stage, at: datetime, reason: str | None = None) -> Record | None:
    """Return the receipt of the record in an envelope; None when that does not say whose it is."""
    if of.change_id is None or of.sequence < 1:
        return None
    said = Receipt(
        change_id=of.change_id,
        member_ref=of.subject,
        seq=of.sequence,
        recipient=RETENTION_PARTY,
        kind="retention",
        stage=stage,
        at=at,
        reason=reason,
        record_id=of.id,
    )
    made = Envelope(
        id=str(uuid5(UUID(of.id), f"{RETENTION_PARTY}/{stage}")),
        type=RECEIPT_TYPE,
        source=SOURCE,
        subject=of.subject,
        sequence=of.sequence,
        previous=of.sequence - 1,
        time=at,
        dataschema="urn:dongui:receipt:v1",
        content_type="application/json",
        change_id=of.change_id,
    )
    return Record(made.id, RECEIPTS, made.subject, made.type, codec.encode_clear(said, made), to_headers(made))

"""Pure: what leaves the retention database: receipts of records, and entries of readings and destructions.

A receipt's id is derived from the record's, so that a record that comes twice is answered once.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from uuid_utils import uuid7

from schemas import codec
from schemas.base import ActorKind
from schemas.codec import RETENTION_PARTY
from schemas.envelope import Envelope, to_headers
from schemas.receipts import RECEIPT_TYPE, Receipt, RegisterEntry, Stage
from schemas.topics import RECEIPTS
from services.runtime.outbox import Record
from services.runtime.register_record import carrier

SOURCE: Final = "/dongui/retention"


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


def entry(
    kind: str,
    subject: str,
    state: str,
    at: datetime,
    *,
    actor: ActorKind,
    member_ref: str,
    codes: Mapping[str, str],
) -> Record:
    """Return a register entry for the audit log; every value is coded."""
    said = RegisterEntry(
        entry_id=str(uuid7()),
        member_ref=member_ref,
        kind=kind,
        subject=subject,
        state=state,
        at=at,
        actor=actor,
        codes=dict(codes),
    )
    return carrier(said, SOURCE)

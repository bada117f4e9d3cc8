"""What changes no member but must be provable leaves as a register entry, in the transaction of the thing itself."""

from collections.abc import Mapping
from datetime import datetime

from uuid_utils import uuid7

from schemas import codec
from schemas.base import ActorKind
from schemas.envelope import Envelope, to_headers
from schemas.receipts import REGISTER_TYPE, RegisterEntry
from schemas.topics import RECEIPTS
from services.consent.records import SOURCE
from services.runtime import outbox
from services.runtime.postgres import Connection


async def append(
    tx: Connection,
    kind: str,
    subject: str,
    state: str,
    at: datetime,
    *,
    actor: ActorKind,
    member_ref: str | None = None,
    codes: Mapping[str, str] | None = None,
) -> str:
    """Hand one entry to the outbox and return its id; the audit log keeps it as a leaf.

    `kind`, `state` and every value of `codes` are coded, never free text; `subject` is a UUID. `restricted` entries
    take no `member_ref`. Raises pydantic.ValidationError for what is not coded: a fault of the caller's code.
    """
    entry = RegisterEntry(
        entry_id=str(uuid7()),
        member_ref=member_ref,
        kind=kind,
        subject=subject,
        state=state,
        at=at,
        actor=actor,
        codes=dict(codes or {}),
    )
    await outbox.append(tx, [_carrier(entry)])
    return entry.entry_id


def _carrier(entry: RegisterEntry) -> outbox.Record:
    envelope = Envelope(
        id=entry.entry_id,
        type=REGISTER_TYPE,
        source=SOURCE,
        subject=entry.key,
        sequence=1,
        previous=0,
        time=entry.at,
        dataschema="urn:dongui:register:v1",
        content_type="application/json",
    )
    payload = codec.encode_clear(entry, envelope)
    return outbox.Record(envelope.id, RECEIPTS, envelope.subject, envelope.type, payload, to_headers(envelope))

"""What changes no member but must be provable leaves as a register entry, in the transaction of the thing itself."""

from collections.abc import Mapping
from datetime import datetime

from uuid_utils import uuid7

from schemas.base import ActorKind
from schemas.receipts import RegisterEntry
from services.consent.records import SOURCE
from services.runtime import outbox
from services.runtime.outbox import Record
from services.runtime.postgres import Connection
from services.runtime.register_record import carrier


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
    """Hand one entry to the outbox and return its id; the audit log keeps it as a leaf. Its fields: `entry`."""
    record = entry(kind, subject, state, at, actor=actor, member_ref=member_ref, codes=codes)
    await outbox.append(tx, [record])
    return record.id


def entry(
    kind: str,
    subject: str,
    state: str,
    at: datetime,
    *,
    actor: ActorKind,
    member_ref: str | None = None,
    codes: Mapping[str, str] | None = None,
) -> Record:
    """Return the outbox record of a new entry.

    `kind`, `state` and every value of `codes` are coded, never free text; `subject` is a UUID. `restricted` entries
    take no `member_ref`. Raises pydantic.ValidationError for what is not coded: a fault of the caller's code.
    """
    told = RegisterEntry(
        entry_id=str(uuid7()),
        member_ref=member_ref,
        kind=kind,
        subject=subject,
        state=state,
        at=at,
        actor=actor,
        codes=dict(codes or {}),
    )
    return carrier(told, SOURCE)

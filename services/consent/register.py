"""What changes no member but must be provable leaves as a register entry, in the transaction of the thing itself."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final

from schemas.base import ActorKind
from services.consent.records import SOURCE
from services.runtime import outbox, register_record
from services.runtime.postgres import Connection

entry: Final = partial(register_record.made, SOURCE)
"""The record of a new entry that this process says."""


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
    """Hand one entry (`register_record.made`) to the outbox and return its id; the audit log keeps it as a leaf."""
    record = entry(kind, subject, state, at, actor=actor, member_ref=member_ref, codes=codes)
    await outbox.append(tx, [record])
    return record.id

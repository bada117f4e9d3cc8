"""`dongui.suppressions.v1`: said once for every erased member, and obeyed here too when this database was restored.

A backup of yesterday knows members who were erased since. Reading the topic from the offset that the backup holds
brings every one of them to the same end; a keyring that was restored is shredded again on the way.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog
from aiokafka import ConsumerRecord
from uuid_utils import uuid7

from schemas import codec
from schemas.envelope import Envelope, from_headers, to_headers
from schemas.errors import CodecError
from schemas.events import Suppression, event_type
from schemas.topics import SUPPRESSIONS
from services.consent import duties
from services.consent.erasure import store
from services.consent.handlers import Consent
from services.consent.records import SOURCE
from services.consent.store import SQL
from services.policy.erasure import DUTY
from services.runtime.outbox import Record
from services.runtime.postgres import Connection

log = structlog.get_logger("suppressions")


def record_of(member_ref: str, at: datetime) -> Record:
    """Return the record that suppresses a member: a reference and an instant, nothing else."""
    shape = Suppression(member_ref=member_ref, at=at)
    envelope = Envelope(
        id=str(uuid7()),
        type=event_type("erased"),
        source=SOURCE,
        subject=member_ref,
        sequence=1,
        previous=0,
        time=at,
        dataschema="urn:dongui:suppression:v1",
        content_type="application/json",
    )
    payload = codec.encode_clear(shape, envelope)
    return Record(envelope.id, SUPPRESSIONS, member_ref, envelope.type, payload, to_headers(envelope))


async def obey(consent: Consent, tx: Connection, batch: Sequence["ConsumerRecord[Any, Any]"]) -> None:
    """Apply a batch of the topic in the caller's transaction; of what is suppressed here already, nothing changes."""
    found = {s.member_ref: s.at for s in map(_suppression, batch) if s is not None}
    for row in await tx.fetch(SQL["erasure_unsuppressed"], list(found)):
        ref = row["ref"]
        await consent.keyring.shred(ref)
        await store.wipe(tx, [ref], found[ref])
        if (case := await store.lock(tx, ref)) is not None:
            await tx.execute(SQL["erasure_restored"], ref, found[ref])
            await duties.close_duty(tx, DUTY, case.duty_subject, found[ref], "destroyed")
        log.warning("erased_again_after_restore", member_ref=ref)


def _suppression(record: "ConsumerRecord[Any, Any]") -> Suppression | None:
    try:
        shape = codec.decode_clear(from_headers(record.headers), record.value)
    except CodecError as error:
        log.error("suppression_undecodable", code=error.code, partition=record.partition, offset=record.offset)
        return None
    return shape if isinstance(shape, Suppression) else None

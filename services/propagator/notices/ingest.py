"""From the topic into the database: each record becomes one notice, or one dead letter with its receipt.

No key is needed here: a notice stays sealed until it is sent, so the key service may be down.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import structlog
from aiokafka import ConsumerRecord
from prometheus_client import Counter

from schemas import codec
from schemas.codec import CodecError
from schemas.envelope import UUID, Envelope, from_headers, to_headers
from schemas.events import event_type
from schemas.jwe import KID
from schemas.topics import NOTICES
from services.propagator import answers
from services.propagator.notices import outgoing, store
from services.propagator.notices.store import Incoming, Subject
from services.runtime.clock import Clock
from services.runtime.outbox import Record

SEALED_BYTES_MAX = 64 * 1024
"""Far above the 20 kB that may be sent, and small enough to travel once more as a dead letter."""
SCHEMA = "urn:dongui:notice:v1"
INGESTED = Counter("dongui_notices_ingested", "Records taken in", ["result"])
log = structlog.get_logger("notices")
Batch = Sequence["ConsumerRecord[Any, Any]"]


class Ingest:
    """`apply` of the Faust agent: committed when it returns; the same batch again adds nothing."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def apply(self, batch: Batch) -> None:
        """Store a batch in one transaction. Raises what the database raises: the caller tries again."""
        found: list[Incoming] = []
        refused: list[Record] = []
        for record in batch:
            try:
                found.append(read(record))
            except CodecError as error:
                log.warning("notice_refused", code=error.code, partition=record.partition, offset=record.offset)
                refused += refusal(record, error.code, self._clock())
        async with self._pool.acquire() as connection, connection.transaction():
            added = await store.insert(connection, found, self._clock()) if found else 0
            await outgoing.append_new(connection, refused)
        INGESTED.labels("new").inc(added)
        INGESTED.labels("duplicate").inc(len(found) - added)
        INGESTED.labels("refused").inc(len(batch) - len(found))


def read(record: "ConsumerRecord[Any, Any]") -> Incoming:
    """Return what a record says without its key; raise CodecError for what no key could mend."""
    envelope = from_headers(record.headers)
    _check(envelope)
    if len(record.value or b"") > SEALED_BYTES_MAX:
        raise CodecError("too_large")
    kid = codec.kid_of(record.value)
    recipient, member_ref = _of(kid)
    if member_ref != envelope.subject:
        raise CodecError("header_mismatch")
    assert envelope.change_id
    assert record.value
    return Incoming(
        record_id=envelope.id,
        change_id=envelope.change_id,
        member_ref=member_ref,
        recipient=recipient,
        seq=envelope.sequence,
        kid=kid,
        headers=to_headers(envelope),
        sealed=bytes(record.value),
        origin=f"{NOTICES}/{record.partition}/{record.offset}",
    )


def _check(envelope: Envelope) -> None:
    """Hold the envelope against what a notice must have, and what a row can hold."""
    if envelope.type != event_type("corrected"):
        raise CodecError("unknown_type")
    if envelope.dataschema != SCHEMA:
        raise CodecError("unknown_schema")
    named = UUID.fullmatch(envelope.id) and envelope.change_id is not None
    if not named or envelope.sequence < 1 or not _storable(envelope.source):
        raise CodecError("bad_headers")


def _storable(text: str) -> bool:
    """Whether PostgreSQL can hold a text: no NUL, no lone surrogate. One that it can't would come again for ever."""
    return "\x00" not in text and text.encode(errors="replace").decode() == text


def _of(kid: str) -> tuple[str, str]:
    found = KID.fullmatch(kid)
    assert found  # `kid_of` has matched it
    return found["recipient"], found["member"]


def refusal(record: "ConsumerRecord[Any, Any]", code: str, at: datetime) -> list[Record]:
    """Return the dead letter, and the `refused` receipt when it can be said whose and about what."""
    letter = answers.dead_letter(NOTICES, record, code)
    try:
        envelope, kid = from_headers(record.headers), codec.kid_of(record.value)
    except CodecError:
        return [letter]
    return [letter, *_receipt(envelope, kid, code, at)]


def _receipt(envelope: Envelope, kid: str, code: str, at: datetime) -> list[Record]:
    recipient, member_ref = _of(kid)
    if envelope.change_id is None or envelope.sequence < 1 or envelope.subject != member_ref:
        return []
    about = Subject(envelope.change_id, member_ref, recipient, envelope.sequence)
    return [outgoing.receipt(about, "refused", at, reason=code)]

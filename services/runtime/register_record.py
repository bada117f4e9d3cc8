"""A register entry as the outbox record that carries it to the audit log, whichever process writes it; and back."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import structlog
from aiokafka import ConsumerRecord
from uuid_utils import uuid7

from schemas import codec
from schemas.base import ActorKind
from schemas.codec import CodecError
from schemas.envelope import Envelope, from_headers, to_headers
from schemas.receipts import REGISTER_TYPE, RegisterEntry
from schemas.topics import RECEIPTS
from services.runtime.outbox import Record

log = structlog.get_logger("register")


def made(
    source: str,
    kind: str,
    subject: str,
    state: str,
    at: datetime,
    *,
    actor: ActorKind,
    member_ref: str | None = None,
    codes: Mapping[str, str] | None = None,
) -> Record:
    """Return the record of a new entry that the process of a CloudEvents source says.

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
    return carrier(entry, source)


def carrier(entry: RegisterEntry, source: str) -> Record:
    """Return the record of an entry; `source` is the CloudEvents source of the process that says it."""
    envelope = Envelope(
        id=entry.entry_id,
        type=REGISTER_TYPE,
        source=source,
        subject=entry.key,
        sequence=1,
        previous=0,
        time=entry.at,
        dataschema="urn:dongui:register:v1",
        content_type="application/json",
    )
    payload = codec.encode_clear(entry, envelope)
    return Record(envelope.id, RECEIPTS, envelope.subject, envelope.type, payload, to_headers(envelope))


def entries(batch: "Iterable[ConsumerRecord[Any, Any]]", kind: str) -> Iterator[RegisterEntry]:
    """Yield the register entries of one kind among the records of the receipts topic, in order."""
    mark = f'"{kind}"'.encode()
    for raw in batch:
        if raw.value is None or mark not in raw.value:
            continue  # most of the topic is something else: not worth decoding
        try:
            shape = codec.decode_clear(from_headers(raw.headers), raw.value)
        except CodecError as error:
            log.warning("entry_undecodable", code=error.code, partition=raw.partition, offset=raw.offset)
            continue
        if isinstance(shape, RegisterEntry) and shape.kind == kind:
            yield shape

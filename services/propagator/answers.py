"""Pure: what leaves a member store through its outbox: receipts, and the records that nobody could read.

Ids are derived, so that a record read twice is answered and dead-lettered once.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from aiokafka import ConsumerRecord

from schemas import codec, envelope
from schemas.envelope import Envelope, to_headers
from schemas.receipts import RECEIPT_TYPE, Receipt, Stage
from schemas.topics import RECEIPTS, dlq_of
from services.runtime.outbox import Record

NAMESPACE: Final = UUID("6f0d3b1e-2f53-5c0a-9b7e-6a9f4c1d8e21")
LETTER_BYTES_MAX: Final = 900_000
"""Below what the broker takes in one message, headers included."""
ERROR_HEADER: Final = "dongui-error"
OMITTED_HEADER: Final = "dongui-value-omitted"
ORIGIN_HEADER: Final = "dongui-origin"


def receipt(
    affiliate: str,
    change_id: str | None,
    member_ref: str,
    seq: int,
    stage: Stage,
    at: datetime,
    reason: str | None = None,
) -> Record | None:
    """Return the receipt of one change at this affiliate; None when the change has no known id."""
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
        id=str(uuid5(UUID(change_id), f"{affiliate}/{stage}")),
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


def dead_letter(topic: str, raw: "ConsumerRecord[Any, Any]", code: str) -> Record:
    """Return the record as it was for the dead-letter topic of `topic` (logical), with `dongui-error: <code>`.

    What cannot be kept is left out and the origin says where it is: headers that are not text, a value too large
    for another message. The key stays when it is a member reference.
    """
    origin = f"{topic}/{raw.partition}/{raw.offset}"
    headers = _text_headers(raw.headers)
    value = raw.value or b""
    if len(value) + sum(len(n) + len(v) for n, v in headers.items()) > LETTER_BYTES_MAX:
        headers = {n: v for n, v in headers.items() if n in envelope.REQUIRED_HEADERS and len(v) <= 1000}
        headers[OMITTED_HEADER], value = str(len(value)), b""
    headers |= {ERROR_HEADER: code, ORIGIN_HEADER: origin}
    key = _text(raw.key)
    return Record(
        id=str(uuid5(NAMESPACE, f"{topic}/{raw.partition}/{raw.offset}")),
        topic=dlq_of(topic),
        key=key if key is not None and envelope.UUID.fullmatch(key) else f"{topic}/{raw.partition}",
        type=headers.get("ce_type", "unknown"),
        payload=value,
        headers=headers,
    )


def _text_headers(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    texts = [(_text(name.encode("utf-8", "replace")), _text(value)) for name, value in headers]
    return {name: value for name, value in texts if name is not None and value is not None}


def _text(raw: bytes | None) -> str | None:
    """Return what PostgreSQL can keep as text; None for anything else (NUL included)."""
    try:
        text = (raw or b"").decode()
    except UnicodeDecodeError:
        return None
    return None if raw is None or "\x00" in text else text

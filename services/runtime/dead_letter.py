"""Pure: the record nobody could read, as it goes to the dead-letter topic of its own.

Its id is derived from where it stood, so that a record read twice is dead-lettered once.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid5

from aiokafka import ConsumerRecord

from schemas import envelope
from schemas.topics import dlq_of
from services.runtime.outbox import Record

NAMESPACE: Final = UUID("6f0d3b1e-2f53-5c0a-9b7e-6a9f4c1d8e21")
LETTER_BYTES_MAX: Final = 900_000
"""Below what the broker takes in one message, headers included."""
ERROR_HEADER: Final = "dongui-error"
OMITTED_HEADER: Final = "dongui-value-omitted"
ORIGIN_HEADER: Final = "dongui-origin"
ORIGIN: Final = re.compile(r"[A-Za-z0-9._-]{1,249}/[0-9]{1,10}/[0-9]{1,19}")
"""A topic, a partition, an offset, as Kafka has them."""


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
        id=letter_id(origin),
        topic=dlq_of(topic),
        key=key if key is not None and envelope.UUID.fullmatch(key) else f"{topic}/{raw.partition}",
        type=headers.get("ce_type", "unknown"),
        payload=value,
        headers=headers,
    )


def origin_of(record: "ConsumerRecord[Any, Any]") -> str:
    """Return `topic/partition/offset` of the record a letter is about; the letter's own when it names no place."""
    stated = _text(dict(record.headers).get(ORIGIN_HEADER))
    return stated if stated and ORIGIN.fullmatch(stated) else f"{record.topic}/{record.partition}/{record.offset}"


def written_at(record: "ConsumerRecord[Any, Any]", otherwise: datetime) -> datetime:
    """Return the letter's Kafka time; `otherwise` when its producer wrote nonsense there."""
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return otherwise


def letter_id(origin: str) -> str:
    """Return the id of the letter about the record that stood at `origin`."""
    return str(uuid5(NAMESPACE, origin))


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

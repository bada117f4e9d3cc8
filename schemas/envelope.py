"""The envelope of every record: CloudEvents 1.0, Kafka protocol binding, binary content mode.

Header names and text forms are the `cloudevents` library's. Around it stands what the library
leaves open: it invents a missing id or time and takes a missing version for 1.0; we refuse those.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from schemas.errors import CodecError

CONTENT_TYPE: Final = "content-type"
TRACEPARENT: Final = "traceparent"
CHANGE_ID: Final = "ce_changeid"
REQUIRED_HEADERS: Final = (
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_specversion",
    "ce_time",
    "ce_subject",
    "ce_sequence",
    "ce_previous",
    "ce_dataschema",
    CONTENT_TYPE,
)
"""Every record has these; `traceparent` and `ce_changeid` may be absent. Headers not of CloudEvents
are ignored. `ce_changeid` names the change in clear, so that a record nobody can open any more can
still be answered.
"""

SEQUENCE_MAX: Final = 2**63 - 1
DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")
UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TRACE: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_FORMAT: Final = JSONFormat()
_REQUIRED: Final = frozenset(REQUIRED_HEADERS)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the headers say: `subject` is the member_ref, `sequence` its seq.

    `previous` is, for a fact, sequence - 1; for a projection and a stop the last seq sent to that
    recipient for that member (0 = first); for the rest it says nothing. `time` is aware;
    `content_type` is `application/jose` when the value is sealed. `change_id` names the change.
    """

    id: str
    type: str
    source: str
    subject: str
    sequence: int
    previous: int
    time: datetime
    dataschema: str
    content_type: str
    traceparent: str | None = None
    change_id: str | None = None


def to_headers(env: Envelope) -> dict[str, str]:
    """Return the Kafka headers as text; raise CodecError(bad_headers) for what none could read."""
    numbers = all(0 <= n <= SEQUENCE_MAX for n in (env.sequence, env.previous))
    if env.time.tzinfo is None or not numbers:
        raise CodecError("bad_headers")
    message = _guarded(lambda: to_binary(CloudEvent(_attributes(env)), _FORMAT))
    headers = {name: value.decode() for name, value in message.headers.items()}
    if env.traceparent is not None:
        headers[TRACEPARENT] = env.traceparent
    return headers


def _attributes(env: Envelope) -> dict[str, Any]:
    named = {} if env.change_id is None else {"changeid": env.change_id}
    return {
        **named,
        "specversion": "1.0",
        "id": env.id,
        "type": env.type,
        "source": env.source,
        "subject": env.subject,
        "sequence": str(env.sequence),
        "previous": str(env.previous),
        "time": env.time.astimezone(UTC),
        "dataschema": env.dataschema,
        "datacontenttype": env.content_type,
    }


def from_headers(headers: Iterable[tuple[str, bytes]]) -> Envelope:
    """Return the envelope of a record's headers, time in UTC; raise CodecError(bad_headers)."""
    ours, traceparent = _ours(headers)
    event = _guarded(lambda: from_binary(KafkaMessage(ours, None, b""), _FORMAT, CloudEvent))
    found = event.get_attributes()
    return Envelope(
        id=found["id"],
        type=found["type"],
        source=found["source"],
        subject=found["subject"],
        sequence=_decimal(found["sequence"]),
        previous=_decimal(found["previous"]),
        time=_guarded(lambda: found["time"].astimezone(UTC)),
        dataschema=found["dataschema"],
        content_type=found["datacontenttype"],
        traceparent=traceparent,
        change_id=_uuid_or_none(found.get("changeid")),
    )


def _ours(headers: Iterable[tuple[str, bytes]]) -> tuple[dict[str, bytes], str | None]:
    """Pick our headers, each exactly once; an unknown `ce_` header is refused, others may pass."""
    ours: dict[str, bytes] = {}
    traceparent = None
    for name, value in headers:
        if name in _REQUIRED and name not in ours and isinstance(value, bytes) and value:
            ours[name] = value
        elif name == TRACEPARENT:
            traceparent = _trace(value)
        elif name == CHANGE_ID and name not in ours and value:
            ours[name] = value
        elif name.lower().startswith("ce_") or name.lower() == CONTENT_TYPE:
            raise CodecError("bad_headers")
    if not ours.keys() >= _REQUIRED:
        raise CodecError("bad_headers")
    return ours, traceparent


def _trace(value: bytes | None) -> str | None:
    """An ill-formed traceparent is dropped, as W3C Trace Context asks; it never costs a record."""
    text = (value or b"").decode("ascii", errors="replace")
    return text if TRACE.fullmatch(text) else None


def _uuid_or_none(text: str | None) -> str | None:
    if text is not None and not UUID.fullmatch(text):
        raise CodecError("bad_headers")
    return text


def _decimal(text: str) -> int:
    """One spelling per number, and no number the database's bigint would refuse."""
    if not DECIMAL.fullmatch(text) or int(text) > SEQUENCE_MAX:
        raise CodecError("bad_headers")
    return int(text)


def _guarded(step: Callable[[], _T]) -> _T:
    """Run a library call; its errors quote header values, so they are dropped, not chained."""
    try:
        return step()
    except (BaseCloudEventException, ValueError, OverflowError):
        pass
    raise CodecError("bad_headers")

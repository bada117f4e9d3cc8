"""The envelope of every record: CloudEvents 1.0, Kafka protocol binding, binary content mode.

Header names and text forms are the `cloudevents` library's. Around it stands what the library
leaves open: it invents a missing id or time and takes a missing version for 1.0; we refuse those.
The library is asked once for each kind of record and remembered: what differs from record to record
(ids, numbers, times) has one text form, and asking again would be half of the cost of reading one.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from operator import itemgetter
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
"""Every record has these. `ce_changeid` may be absent: it names the change in clear, so that a record nobody can open
any more can still be answered. A reader takes a record without `traceparent`, which all of ours have. Headers not of
CloudEvents are ignored.
"""

SEQUENCE_MAX: Final = 2**63 - 1
DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")
UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TRACE: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_FORMAT: Final = JSONFormat()
_OWN_TIME: Final = re.compile(r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}(\.[0-9]{6})?Z")
_OF_THE_KIND: Final = ("ce_specversion", "ce_type", "ce_source", "ce_dataschema", CONTENT_TYPE)
_of_the_kind: Final = itemgetter(*_OF_THE_KIND)
_KINDS_MAX: Final = 256
_KNOWN: Final = frozenset({*REQUIRED_HEADERS, CHANGE_ID, TRACEPARENT})
_OF_THE_RECORD: Final = ("ce_id", "ce_subject", "ce_sequence", "ce_previous", "ce_time", CHANGE_ID)
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
    if env.time.tzinfo is None or not numbers or not env.id or not env.subject:
        raise CodecError("bad_headers")
    headers = {
        **_kind_headers(env.type, env.source, env.dataschema, env.content_type),
        "ce_id": env.id,
        "ce_subject": env.subject,
        "ce_sequence": str(env.sequence),
        "ce_previous": str(env.previous),
        "ce_time": env.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
    if env.change_id is not None:
        headers[CHANGE_ID] = env.change_id
    headers[TRACEPARENT] = env.traceparent or _untraced(env)
    return headers


def _untraced(env: Envelope) -> str:
    """Return the trace context of a record whose maker was not traced: not sampled, the same for a whole change.

    Derived, never random: a record that is made twice must be the same twice (docs/decisions/0015).
    """
    digest = sha256((env.change_id or env.id).encode(errors="surrogatepass")).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-00"


@lru_cache(maxsize=_KINDS_MAX)
def _kind_headers(event_type: str, source: str, dataschema: str, content_type: str) -> dict[str, str]:
    """Return the headers that every record of one kind has in common, as the library writes them."""
    attributes = {
        "specversion": "1.0",
        "id": "any",
        "type": event_type,
        "source": source,
        "dataschema": dataschema,
        "datacontenttype": content_type,
    }
    message = _guarded(lambda: to_binary(CloudEvent(attributes), _FORMAT))
    return {name: value.decode() for name, value in message.headers.items() if name in _OF_THE_KIND}


def from_headers(headers: Iterable[tuple[str, bytes]]) -> Envelope:
    """Return the envelope of a record's headers, time in UTC; raise CodecError(bad_headers)."""
    ours = _ours(headers)
    kind = _kind(_of_the_kind(ours))
    text = _guarded(lambda: {name: ours[name].decode() for name in _OF_THE_RECORD if name in ours})
    return Envelope(
        id=text["ce_id"],
        type=kind["type"],
        source=kind["source"],
        subject=text["ce_subject"],
        sequence=_decimal(text["ce_sequence"]),
        previous=_decimal(text["ce_previous"]),
        time=_time(text["ce_time"]),
        dataschema=kind["dataschema"],
        content_type=kind["datacontenttype"],
        traceparent=_trace(ours.get(TRACEPARENT)),
        change_id=_uuid_or_none(text.get(CHANGE_ID)),
    )


@lru_cache(maxsize=_KINDS_MAX)
def _kind(values: tuple[bytes, ...]) -> dict[str, Any]:
    """Return what the library reads in the headers that every record of one kind has in common."""
    named = dict(zip(_OF_THE_KIND, values, strict=True)) | {"ce_id": b"any"}
    event = _guarded(lambda: from_binary(KafkaMessage(named, None, b""), _FORMAT, CloudEvent))
    return dict(event.get_attributes())


def _time(text: str) -> datetime:
    """Our own form costs little; any other that the library takes is taken too."""
    if _OWN_TIME.fullmatch(text):
        return _guarded(lambda: datetime.fromisoformat(text))
    named = {"ce_id": b"any", "ce_type": b"any", "ce_source": b"any", "ce_time": text.encode()}
    event = _guarded(lambda: from_binary(KafkaMessage(named, None, b""), _FORMAT, CloudEvent))
    read: datetime = _guarded(lambda: event.get_attributes()["time"].astimezone(UTC))
    return read


def _ours(headers: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """Pick our headers, each exactly once; an unknown `ce_` header is refused, others may pass."""
    pairs = list(headers)
    found = dict(pairs)
    if not all(map(found.get, REQUIRED_HEADERS)) or not found.get(CHANGE_ID, b"any"):
        raise CodecError("bad_headers")
    if any(map(_is_reserved, found.keys() - _KNOWN)) or (len(found) < len(pairs) and _is_one_twice(pairs)):
        raise CodecError("bad_headers")
    return found


def _is_reserved(name: str) -> bool:
    """Say whether a name is CloudEvents', in any letters."""
    return name.lower().startswith("ce_") or name.lower() == CONTENT_TYPE


def _is_one_twice(pairs: Iterable[tuple[str, bytes]]) -> bool:
    names = [name for name, _ in pairs if _is_reserved(name)]
    return len(set(names)) < len(names)


def _trace(value: bytes | None) -> str | None:
    """An ill-formed traceparent is dropped, as W3C Trace Context asks; it never costs a record."""
    if not value:
        return None
    text = value.decode("ascii", errors="replace")
    return text if TRACE.fullmatch(text) else None


def _uuid_or_none(text: str | None) -> str | None:
    if text is not None and not UUID.fullmatch(text):
        raise CodecError("bad_headers")
    return text


def _decimal(text: str) -> int:
    """One spelling per number, and no number the database's bigint would refuse."""
    if not DECIMAL.fullmatch(text) or (number := int(text)) > SEQUENCE_MAX:
        raise CodecError("bad_headers")
    return number


def _guarded(step: Callable[[], _T]) -> _T:
    """Run a library call; its errors quote header values, so they are dropped, not chained."""
    try:
        return step()
    except (BaseCloudEventException, ValueError, OverflowError):
        pass
    raise CodecError("bad_headers")

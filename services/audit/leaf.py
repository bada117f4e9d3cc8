"""From one Kafka record to one leaf: decode, name what is found, write it down canonically. Pure.

The body is RFC 8785 JSON `{"data", "envelope", "source"}`: what was said, by which event, and where in
Kafka it stood. A record that cannot be decoded, or stands where its shape may not, is a leaf too, with the
reason and the SHA-256 of its value but without the value: it may hold anything.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson
import rfc8785
from aiokafka import ConsumerRecord

from schemas import codec
from schemas.codec import CodecError
from schemas.envelope import UUID, Envelope, from_headers
from schemas.events import Fact
from schemas.receipts import ANSWERED, DISCLOSURE_TYPE, RECEIPT_TYPE, DisclosureRecord, Receipt, RegisterEntry
from schemas.topics import FACTS, RECEIPTS
from services.audit import canonical
from services.audit.clauses import ACCESS, clauses_of

UNDECODABLE_TYPE = "kr.dongui.audit.undecodable.v1"
ACCESS_TYPE = "kr.dongui.audit.access.v1"
NAMESPACE = uuid.UUID("6f1d5f0e-6d0b-5c7e-9b0a-0d0e5a1c2f30")
"""Of ids made here: uuid5 of the record's place in Kafka."""

HOMES: Final[Mapping[type, str]] = {
    Fact: FACTS,
    Receipt: RECEIPTS,
    DisclosureRecord: RECEIPTS,
    RegisterEntry: RECEIPTS,
}
"""The one topic each shape may come from: many may write receipts, and none of them may say a fact."""

Kind = Literal["affiliate", "third_party"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry to be: the exact body, and the columns by which it is found again.

    `content_hash` covers what the sender said, not where it stood in Kafka: a re-sent event has the same.
    `owed` lists who must answer a fact; `answers` is whether this receipt ends a wait. `kind` is a register entry's,
    or what somebody did who looked at the log.
    """

    event_id: str
    type: str
    body: bytes
    content_hash: bytes
    at: datetime
    member_ref: str | None = None
    change_id: str | None = None
    seq: int | None = None
    actor: str | None = None
    recipient: str | None = None
    stage: str | None = None
    owed: tuple[tuple[str, Kind], ...] = field(default=())
    answers: bool = False
    kind: str | None = None
    clauses: tuple[str, ...] = ()


def of_record(record: "ConsumerRecord[Any, Any]") -> Leaf | None:
    """Return the leaf of a record; None for a `sealed` receipt, which would make the log feed itself."""
    try:
        envelope = from_headers(record.headers)
        shape = codec.decode_clear(envelope, record.value)
        if not UUID.fullmatch(envelope.id):  # another spelling is another text, and the same to the database
            return undecodable(record, "invalid_field")
        return _of_shape(record, envelope, shape)
    except CodecError as error:
        return undecodable(record, error.code)
    except rfc8785.CanonicalizationError:
        return undecodable(record, "not_canonical")
    except (ValueError, OverflowError):
        # An instant no calendar has: the database would refuse it for ever.
        return undecodable(record, "invalid_field")


def undecodable(record: "ConsumerRecord[Any, Any]", reason: str) -> Leaf:
    """Return the leaf of a record that says nothing we can read, or something it may not say."""
    value: bytes = record.value or b""
    at = _appended_at(record)
    place = _place(record)
    body: dict[str, Any] = {
        "data": {
            "reason": reason,
            "sha256": hashlib.sha256(value).hexdigest(),
            "bytes": len(value),
            "null": record.value is None,
        },
        "envelope": {"type": UNDECODABLE_TYPE, "source": "/dongui/audit", "time": _time(at)},
        "source": place,
    }
    name = f"{place['topic']}/{place['partition']}/{place['offset']}/{record.timestamp}"
    return Leaf(
        event_id=str(uuid.uuid5(NAMESPACE, name)),
        type=UNDECODABLE_TYPE,
        body=canonical.dumps(body),
        content_hash=hashlib.sha256(value).digest(),
        at=at,
    )


def _of_shape(record: "ConsumerRecord[Any, Any]", envelope: Envelope, shape: object) -> Leaf | None:
    home = HOMES.get(type(shape))
    if home is None or not record.topic.endswith(home):  # by its end: an installation may have a prefix
        return undecodable(record, "unexpected_type")
    if isinstance(shape, Receipt):
        return None if _is_seal(shape) else _leaf(record, envelope, shape, _of_receipt(shape))
    if isinstance(shape, Fact):
        return _leaf(record, envelope, shape, _of_fact(shape))
    if isinstance(shape, DisclosureRecord):
        return _leaf(record, envelope, shape, {"recipient": shape.recipient, "actor": "service"})
    assert isinstance(shape, RegisterEntry)
    return _leaf(record, envelope, shape, {"actor": shape.actor, "kind": shape.kind})


def _is_seal(receipt: Receipt) -> bool:
    return receipt.stage == "sealed" and receipt.kind == "audit"


def _of_receipt(receipt: Receipt) -> dict[str, Any]:
    return {
        "change_id": receipt.change_id,
        "seq": receipt.seq,
        "actor": receipt.recipient,
        "recipient": receipt.recipient,
        "stage": receipt.stage,
        "answers": receipt.stage in ANSWERED,
    }


def _of_fact(fact: Fact) -> dict[str, Any]:
    return {
        "change_id": fact.change_id,
        "seq": fact.seq,
        "actor": fact.actor,
        "owed": tuple((a.id, a.kind) for a in fact.addressees),
    }


def _leaf(
    record: "ConsumerRecord[Any, Any]",
    envelope: Envelope,
    shape: Fact | Receipt | DisclosureRecord | RegisterEntry,
    columns: dict[str, Any],
) -> Leaf:
    # The sender's own JSON, not our model's: the log keeps what was said.
    data = orjson.loads(record.value)
    attributes = _attributes(envelope)
    said = canonical.dumps({"data": data, "envelope": attributes})
    return Leaf(
        event_id=envelope.id,
        type=envelope.type,
        body=_body(said, _place(record)),
        content_hash=hashlib.sha256(said).digest(),
        at=shape.at.astimezone(UTC),
        member_ref=shape.member_ref,
        clauses=clauses_of(shape),
        **columns,
    )


def _body(said: bytes, source: Mapping[str, Any]) -> bytes:
    """Return canonical JSON of what was said and where it stood: `source` is the last of the three names in order."""
    return said[:-1] + b',"source":' + canonical.dumps(source) + b"}"


def _attributes(envelope: Envelope) -> dict[str, Any]:
    attributes = {
        "id": envelope.id,
        "type": envelope.type,
        "source": envelope.source,
        "subject": envelope.subject,
        "sequence": envelope.sequence,
        "previous": envelope.previous,
        "time": _time(envelope.time),
        "dataschema": envelope.dataschema,
        "traceparent": envelope.traceparent,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _place(record: "ConsumerRecord[Any, Any]") -> dict[str, Any]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def _appended_at(record: "ConsumerRecord[Any, Any]") -> datetime:
    """Return the record's Kafka time; the epoch when a producer wrote nonsense there."""
    try:
        return datetime.fromtimestamp(record.timestamp / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def is_made_again(leaf: Leaf, at: datetime, body: bytes) -> bool:
    """Say whether a receipt says what the entry of its id said, and is younger: it was made once more.

    A store put back from a backup applies again and answers again. What is older than the entry, or says anything else,
    is no repetition: a re-used id.
    """
    if leaf.type != RECEIPT_TYPE or leaf.at <= at:
        return False
    return _but_the_time(leaf.body) == _but_the_time(body)


def _but_the_time(body: bytes) -> list[dict[str, Any]]:
    told = orjson.loads(body)
    return [{k: v for k, v in told[part].items() if k not in {"at", "time"}} for part in ("data", "envelope")]


def of_access(row: Mapping[str, Any]) -> Leaf:
    """Return the leaf of one row of `access`: who looked at the log, when, from where, at whom, what for."""
    named = {"actor": "reader", "roles": "roles", "address": "address", "action": "action", "reason": "reason"}
    data = {name: row[column] for name, column in named.items()}
    data |= {"at": _time(row["at"]), "member_ref": row["member_ref"], "told": row["told"]}
    event_id = str(row["access_id"])
    said: dict[str, Any] = {
        "data": data,
        "envelope": {"id": event_id, "type": ACCESS_TYPE, "source": "/dongui/audit", "time": _time(row["at"])},
    }
    return Leaf(
        event_id=event_id,
        type=ACCESS_TYPE,
        body=canonical.dumps(said | {"source": {"table": "access", "position": row["position"]}}),
        content_hash=hashlib.sha256(canonical.dumps(said)).digest(),
        at=row["at"],
        member_ref=row["member_ref"],
        actor=row["reader"],
        kind=row["action"],
        clauses=ACCESS,
    )


def searched(body: bytes) -> dict[str, Any]:
    """Return the columns by which a body must be found, from the body alone: what a verifier compares with the row.

    Raises ValueError, KeyError when it is no body of ours.
    """
    told = orjson.loads(body)
    data, attributes = told["data"], told["envelope"]
    kind = attributes["type"]
    found: dict[str, Any] = {"type": kind, "at": datetime.fromisoformat(data.get("at", attributes["time"]))}
    if kind != UNDECODABLE_TYPE:
        found |= {"event_id": attributes["id"], "member_ref": data.get("member_ref")}
        found |= {name: data.get(name) for name in ("change_id", "seq", "recipient", "stage")}
        found["actor"] = data.get("actor") or ("service" if kind == DISCLOSURE_TYPE else data.get("recipient"))
    return found

"""Facts, receipts and raw records for the audit tests, sent as the other processes send them."""

import uuid
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

from schemas import codec
from schemas.base import Shape
from schemas.envelope import Envelope, to_headers
from schemas.events import Addressee, Fact
from schemas.receipts import RECEIPT_TYPE, Receipt
from schemas.topics import FACTS, RECEIPTS

AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def a_member() -> str:
    return str(uuid.uuid4())


def a_fact(member: str, seq: int, *, at: datetime = AT, recipients: tuple[str, ...] = ()) -> Fact:
    return Fact(
        change="corrected",
        change_id=str(uuid.uuid4()),
        member_ref=member,
        seq=seq,
        at=at,
        actor="member",
        channel="web",
        items=("email",),
        addressees=tuple(Addressee(id=r, kind="affiliate") for r in recipients),
        policy_version="2021-02-22",
    )


def an_answer(fact: Fact, recipient: str) -> Receipt:
    return Receipt(
        change_id=fact.change_id,
        member_ref=fact.member_ref,
        seq=fact.seq,
        recipient=recipient,
        kind="affiliate",
        stage="applied",
        at=fact.at,
    )


def envelope_of(shape: Fact | Receipt, event_id: str | None = None) -> Envelope:
    fact = isinstance(shape, Fact)
    return Envelope(
        id=event_id or str(uuid.uuid4()),
        type="kr.dongui.member.corrected.v1" if fact else RECEIPT_TYPE,
        source="/dongui/consent" if fact else "/dongui/propagator/tmax-os",
        subject=shape.member_ref,
        sequence=shape.seq,
        previous=shape.seq - 1,
        time=shape.at,
        dataschema="urn:dongui:fact:v1" if fact else "urn:dongui:receipt:v1",
        content_type="application/json",
        traceparent=None,
    )


async def send(producer: AIOKafkaProducer, prefix: str, shape: Fact | Receipt, event_id: str | None = None) -> str:
    """Send one record; return its event id."""
    envelope = envelope_of(shape, event_id)
    topic = FACTS if isinstance(shape, Fact) else RECEIPTS
    value = encoded(shape, envelope)
    headers = [(name, text.encode()) for name, text in to_headers(envelope).items()]
    key = shape.member_ref.encode()
    await producer.send_and_wait(prefix + topic, value=value, key=key, headers=headers)
    return envelope.id


def encoded(shape: Shape, envelope: Envelope) -> bytes:
    assert isinstance(shape, Fact | Receipt)
    return codec.encode_clear(shape, envelope)

"""Tells consent which facts are sealed: one `sealed` receipt per fact that a checkpoint newly covers.

Sent first, noted as sent after: at least once. Its id is made from the change's, so a repeat is the
same event. Sealed receipts are not leaves (services/audit/leaf.py), so the log does not feed itself.
"""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import datetime

import asyncpg
from aiokafka import AIOKafkaProducer
from prometheus_client import Counter

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.receipts import RECEIPT_TYPE, Receipt
from schemas.topics import RECEIPTS
from services.audit.store import SQL, StoredCheckpoint, latest_checkpoint

BATCH_MAX = 500
SEND_TIMEOUT_S = 30.0
SOURCE = "/dongui/audit"
SEALED = Counter("dongui_audit_sealed", "Sealed receipts acknowledged by the broker")


async def publish(pool: asyncpg.Pool, producer: AIOKafkaProducer, prefix: str) -> int:
    """Send what the newest checkpoint covers and was not sent yet; return how many receipts."""
    latest = await latest_checkpoint(pool)
    sent_size = int(await pool.fetchval(SQL["sealed_size"]))
    if latest is None or latest.size <= sent_size:
        return 0
    sent = await _send_range(pool, producer, prefix, (sent_size, latest))
    await pool.execute(SQL["insert_sealed"], latest.size)
    return sent


async def _send_range(
    pool: asyncpg.Pool,
    producer: AIOKafkaProducer,
    prefix: str,
    span: tuple[int, StoredCheckpoint],
) -> int:
    start, latest = span
    sent = 0
    while True:
        facts = await pool.fetch(SQL["list_sealable"], start, latest.size, BATCH_MAX)
        await _send(producer, prefix, [_receipt(fact, latest.at) for fact in facts])
        sent += len(facts)
        if len(facts) < BATCH_MAX:
            return sent
        start = facts[-1]["index"] + 1


async def _send(producer: AIOKafkaProducer, prefix: str, receipts: Sequence[Receipt]) -> None:
    acks = []
    for receipt in receipts:
        envelope = envelope_of(receipt)
        headers = [(name, value.encode()) for name, value in to_headers(envelope).items()]
        value = codec.encode_clear(receipt, envelope)
        key = receipt.member_ref.encode()
        acks.append(await producer.send(prefix + RECEIPTS, value=value, key=key, headers=headers))
    await asyncio.wait_for(asyncio.gather(*acks), SEND_TIMEOUT_S)
    SEALED.inc(len(receipts))


def _receipt(fact: asyncpg.Record, at: datetime) -> Receipt:
    return Receipt(
        change_id=fact["change_id"],
        member_ref=fact["member_ref"],
        seq=fact["seq"],
        recipient="audit",
        kind="audit",
        stage="sealed",
        at=at,
        leaf_index=fact["index"],
    )


def envelope_of(receipt: Receipt) -> Envelope:
    """Return the envelope of a sealed receipt; the same receipt always has the same id."""
    return Envelope(
        id=str(uuid.uuid5(uuid.UUID(receipt.change_id), "sealed")),
        type=RECEIPT_TYPE,
        source=SOURCE,
        subject=receipt.member_ref,
        sequence=receipt.seq,
        previous=receipt.seq - 1,
        time=receipt.at,
        dataschema="urn:dongui:receipt:v1",
        content_type="application/json",
        traceparent=None,
    )

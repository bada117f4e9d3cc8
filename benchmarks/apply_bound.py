"""`python -m benchmarks.apply_bound BOOTSTRAP TOPIC DSN AFFILIATE`: the store's own SQL, and nothing else of ours.

Reads records in clear, trusts them, keeps the last of each member and runs the statements that a batch of the
propagator runs, with the same columns and the same receipts in the outbox; beside it, as in a propagator, the outbox
is read, produced and marked, in order, by one bare loop. No keys, no checks, no leases.
"""

import asyncio
import contextlib
import signal
import sys
import uuid
from dataclasses import fields
from datetime import datetime
from typing import Any

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.topics import affiliate_topic
from services.propagator.model import ProcessedRow
from services.propagator.store import SQL, SUPPRESSIONS_LOCK
from services.runtime import postgres
from services.runtime.clock import utc_now
from services.runtime.outbox import SHARDS, shard_of
from services.runtime.relay import BATCH_MAX as PUBLISHED_MAX
from services.runtime.relay import MARK, SELECT

BATCH_MAX = 1000
IDLE_S = 0.01
NOT_TOLD = dict.fromkeys(("outcome", "reason", "leaf_index", "record_id", "superseded_by"))
NO_PROCESSED: list[list[Any]] = [[]] * len(fields(ProcessedRow))
RECEIPT_HEADERS = {
    "ce_specversion": "1.0",
    "ce_type": "kr.dongui.receipt.v1",
    "ce_source": "/dongui/propagator/bound",
    "ce_dataschema": "urn:dongui:receipt:v1",
    "content-type": "application/json",
}


async def run(bootstrap: str, topic: str, dsn: str, affiliate: str) -> None:
    """Apply until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connection = await postgres.connect(dsn, planner=postgres.STEADY)
    consumer: Any = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=f"{dsn.rpartition('/')[2]}", auto_offset_reset="earliest",
        enable_auto_commit=False,
    )  # fmt: skip
    await consumer.start()
    publishing = asyncio.create_task(_publish(bootstrap, dsn, topic.removesuffix(affiliate_topic(affiliate))))
    try:
        while not stop.is_set():
            fetched: dict[TopicPartition, list[Any]] = await consumer.getmany(timeout_ms=100, max_records=BATCH_MAX)
            records = [r for batch in fetched.values() for r in batch]
            if records:
                await _apply(connection, affiliate, records)
                await consumer.commit()
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(consumer.stop(), 2)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        await connection.close()


async def _publish(bootstrap: str, dsn: str, prefix: str) -> None:
    """Produce what the outbox holds and mark it, batch after batch."""
    connection = await postgres.connect(dsn, planner=postgres.STEADY)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=2, max_batch_size=256 * 1024
    )
    await producer.start()
    try:
        while True:
            rows = await connection.fetch(SELECT, list(range(SHARDS)), PUBLISHED_MAX, [])
            acks = [
                await producer.send(
                    prefix + r["aggregatetype"],
                    r["payload"],
                    r["aggregateid"].encode(),
                    headers=[(name, value.encode()) for name, value in r["headers"].items()],
                )
                for r in rows
            ]
            await asyncio.gather(*acks)
            await connection.execute(MARK, [r["position"] for r in rows])
            if not rows:
                await asyncio.sleep(IDLE_S)
    finally:
        await producer.stop()
        await connection.close()


async def _apply(connection: Any, affiliate: str, records: list[Any]) -> None:
    values = [orjson.loads(r.value) for r in records]
    last = {v["member_ref"]: v for v in values}
    refs, now = sorted(last), utc_now()
    async with connection.transaction():
        await connection.fetch(SQL["lock_states"], refs, SUPPRESSIONS_LOCK)
        watermarks, members = _columns([_watermark(last[r]) for r in refs]), _columns([_member(last[r]) for r in refs])
        receipts = _columns([_receipt(affiliate, v) for v in values])
        await connection.execute(SQL["write_states"], now, *watermarks, *members, *NO_PROCESSED, *receipts)


def _columns(rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _watermark(v: dict[str, Any]) -> tuple[Any, ...]:
    seq = v["seq"]
    status = v["member"]["status"]
    return (v["member_ref"], seq, seq, "present", seq, "absent", seq, v["marketing"], seq, status, None, seq, None)


def _member(v: dict[str, Any]) -> tuple[Any, ...]:
    m = v["member"]
    signed_up = datetime.fromisoformat(m["signed_up_at"])
    held = (m["email"], m["name"], m["password_hash"], m["status"], signed_up)
    return (v["member_ref"], v["seq"], *held, None, v["marketing"], None)


def _receipt(affiliate: str, v: dict[str, Any]) -> tuple[Any, ...]:
    """Return a receipt's row, with as much in it as ours has."""
    told = {name: v[name] for name in ("change_id", "member_ref", "seq", "at")}
    body = told | {"recipient": affiliate, "kind": "affiliate", "stage": "applied", **NOT_TOLD}
    id_, ref = str(uuid.uuid4()), v["member_ref"]
    headers = RECEIPT_HEADERS | {
        "ce_id": id_,
        "ce_subject": ref,
        "ce_sequence": str(v["seq"]),
        "ce_previous": str(v["prev"]),
        "ce_time": v["at"],
        "ce_changeid": v["change_id"],
    }
    return (id_, "dongui.receipts.v1", ref, headers["ce_type"], orjson.dumps(body), headers, shard_of(ref))


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))

"""`python -m benchmarks.apply_bound BOOTSTRAP TOPIC DSN AFFILIATE`: the store's own SQL, and nothing else of ours.

Reads records in clear, trusts them, keeps the last of each member and runs the statements that a batch of the
propagator runs, with the same columns and the same receipts in the outbox. No keys, no check, no publication.
"""

import asyncio
import contextlib
import signal
import sys
import uuid
from datetime import datetime
from typing import Any

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.propagator.store import SQL, SUPPRESSIONS_LOCK
from services.runtime import postgres
from services.runtime.clock import utc_now
from services.runtime.outbox import shard_of

BATCH_MAX = 1000
RECEIPT_HEADERS = {"ce_type": "kr.dongui.receipt.v1", "ce_specversion": "1.0", "content-type": "application/json"}


async def run(bootstrap: str, topic: str, dsn: str, affiliate: str) -> None:
    """Apply until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connection = await postgres.connect(dsn)
    consumer: Any = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=f"{dsn.rpartition('/')[2]}", auto_offset_reset="earliest",
        enable_auto_commit=False,
    )  # fmt: skip
    await consumer.start()
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
        await connection.close()


async def _apply(connection: Any, affiliate: str, records: list[Any]) -> None:
    values = [orjson.loads(r.value) for r in records]
    last = {v["member_ref"]: v for v in values}
    refs, now = sorted(last), utc_now()
    async with connection.transaction():
        await connection.execute(SQL["touch_watermarks"], refs, SUPPRESSIONS_LOCK)
        await connection.execute(SQL["lock_watermarks"], refs)
        await connection.fetch(SQL["read_states"], refs)
        await connection.execute(SQL["write_watermarks"], *_columns([_watermark(last[r]) for r in refs]))
        await connection.execute(SQL["write_members"], *_columns([_member(last[r]) for r in refs]), now)
        await connection.execute(SQL["append_outbox"], *_columns([_receipt(affiliate, v) for v in values]))


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
    body = orjson.dumps({"change_id": v["change_id"], "member_ref": v["member_ref"], "seq": v["seq"], "to": affiliate})
    ref = v["member_ref"]
    kind = "kr.dongui.receipt.v1"
    return (str(uuid.uuid4()), "dongui.receipts.v1", ref, kind, body, RECEIPT_HEADERS, shard_of(ref))


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))

"""The reference: the same number of records to the same number of stores with nothing of ours in between."""

import asyncio
import os
import time
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from schemas.topics import Topic
from services.devstack import topics
from services.devstack.provision import AFFILIATES
from services.devstack.stack import Stack

PAYLOAD_BYTES = 700
TOPICS = {a: f"bare.{a}" for a in AFFILIATES}


async def measure(stack: Stack, rate: float, seconds: float) -> list[float]:
    """Return for each record the milliseconds from its send to the COMMIT in the last of three databases."""
    await topics.create(stack.bootstrap, [Topic(t, 8, 3_600_000) for t in TOPICS.values()])
    count = int(rate * seconds)
    stores = [asyncio.create_task(_store(stack, affiliate, count)) for affiliate in AFFILIATES]
    await asyncio.sleep(2)
    sent = await _send(stack, rate, count)
    committed = await asyncio.gather(*stores)
    return [1000 * (max(c[n] for c in committed) - at) for n, at in sent.items()]


async def _send(stack: Stack, rate: float, count: int) -> dict[int, float]:
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap, enable_idempotence=True, linger_ms=2)
    await producer.start()
    loop, sent = asyncio.get_running_loop(), {}
    start = loop.time()
    try:
        for number in range(count):
            await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
            sent[number] = time.time()
            value = number.to_bytes(8, "big") + os.urandom(PAYLOAD_BYTES)
            for topic in TOPICS.values():
                await producer.send(topic, value, key=str(number).encode())
    finally:
        await producer.stop()
    return sent


async def _store(stack: Stack, affiliate: str, count: int) -> dict[int, float]:
    """Consume one topic into one table; return the wall time after each number's COMMIT."""
    connection = await _table(stack, affiliate)
    consumer: Any = AIOKafkaConsumer(TOPICS[affiliate], bootstrap_servers=stack.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    committed: dict[int, float] = {}
    try:
        while len(committed) < count:
            batches = await consumer.getmany(timeout_ms=100)
            records = [r for batch in batches.values() for r in batch]
            numbers = [int.from_bytes(r.value[:8], "big") for r in records]
            if numbers:
                await connection.execute(
                    "INSERT INTO bare SELECT * FROM unnest($1::bigint[], $2::bytea[]) ON CONFLICT DO NOTHING",
                    numbers,
                    [r.value for r in records],
                )
                committed |= dict.fromkeys(numbers, time.time())
    finally:
        await consumer.stop()
        await connection.close()
    return committed


async def _table(stack: Stack, affiliate: str) -> asyncpg.Connection:
    admin = await asyncpg.connect(stack.postgres.admin_dsn)
    name = f"bare_{affiliate}"
    await admin.execute(f'CREATE DATABASE "{name}"')
    await admin.close()
    connection = await asyncpg.connect(f"{stack.postgres.admin_dsn.rpartition('/')[0]}/{name}")
    await connection.execute("CREATE TABLE bare (number bigint PRIMARY KEY, value bytea NOT NULL)")
    return connection

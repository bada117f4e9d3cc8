"""The reference: the same number of records to the same number of stores with nothing of ours in between.

Idempotent produce, aiokafka, asyncpg COMMIT. Connections, topics and tables stay from run to run, as ours do: what a
first use prepares is in neither side's figures.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks import servers
from schemas.topics import Topic
from services.devstack import topics
from services.devstack.provision import AFFILIATES
from services.devstack.stack import Stack

PAYLOAD_BYTES = 700
TOPICS = {a: f"bare.{a}" for a in AFFILIATES}
INSERT = "INSERT INTO bare SELECT * FROM unnest($1::bigint[], $2::bytea[]) ON CONFLICT DO NOTHING"


@dataclass(frozen=True)
class _Store:
    """One topic, read into one table."""

    consumer: Any
    connection: asyncpg.Connection

    async def take(self, count: int) -> dict[int, float]:
        """Read so many records; return the Unix seconds after each number's COMMIT."""
        committed: dict[int, float] = {}
        while len(committed) < count:
            batches = await self.consumer.getmany(timeout_ms=100)
            records = [r for batch in batches.values() for r in batch]
            numbers = [int.from_bytes(r.value[:8], "big") for r in records]
            if numbers:
                await self.connection.execute(INSERT, numbers, [r.value for r in records])
                committed |= dict.fromkeys(numbers, time.time())
        return committed


class Bare:
    """A producer and three stores; each run's records have numbers of their own."""

    def __init__(self, producer: AIOKafkaProducer, stores: Sequence[_Store]) -> None:
        self._producer = producer
        self._stores = stores
        self._next = 0

    async def run(self, rate: float, seconds: float) -> list[float]:
        """Return for each record the milliseconds from its send to the COMMIT in the last of three databases."""
        numbers = range(self._next, self._next + int(rate * seconds))
        self._next = numbers.stop
        async with asyncio.TaskGroup() as group:
            taking = [group.create_task(store.take(len(numbers))) for store in self._stores]
            sent = await self._send(numbers, rate)
        committed = [one.result() for one in taking]
        return [1000 * (max(c[n] for c in committed) - at) for n, at in sent.items()]

    async def _send(self, numbers: range, rate: float) -> dict[int, float]:
        loop, sent = asyncio.get_running_loop(), {}
        start = loop.time()
        for index, number in enumerate(numbers):
            await asyncio.sleep(max(0.0, start + index / rate - loop.time()))
            sent[number] = time.time()
            value = number.to_bytes(8, "big") + os.urandom(PAYLOAD_BYTES)
            for topic in TOPICS.values():
                await self._producer.send(topic, value, key=str(number).encode())
        await self._producer.flush()
        return sent


@asynccontextmanager
async def opened(stack: Stack) -> AsyncIterator[Bare]:
    """Make topics, databases and connections; close the connections after."""
    await topics.create(stack.bootstrap, [Topic(t, 8, 3_600_000) for t in TOPICS.values()])
    async with AsyncExitStack() as closing:
        stores = [await closing.enter_async_context(_opened(stack, affiliate)) for affiliate in AFFILIATES]
        producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap, enable_idempotence=True, linger_ms=2)
        await producer.start()
        closing.push_async_callback(producer.stop)
        yield Bare(producer, stores)


@asynccontextmanager
async def _opened(stack: Stack, affiliate: str) -> AsyncIterator[_Store]:
    name = f"bare_{affiliate}"
    await servers.execute(stack.postgres.admin_dsn, f'CREATE DATABASE "{name}"')
    async with servers.connected(f"{stack.postgres.admin_dsn.rpartition('/')[0]}/{name}") as connection:
        await connection.execute("CREATE TABLE bare (number bigint PRIMARY KEY, value bytea NOT NULL)")
        topic = TOPICS[affiliate]
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=stack.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            yield _Store(consumer, connection)
        finally:
            await consumer.stop()

"""The reference of `erase`: the same topology with nothing of ours in between.

For each member an idempotent produce to a topic of each of three stores and of the retention database, a plain consumer
and a COMMIT there, its answer on a topic, and after the fourth answer the key and the values go from two databases. No
policy, no sealing, no case, no lock, no register, no duty, no audit log; one process and one event loop.
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks import servers
from benchmarks.harness import Run
from schemas.topics import Topic
from services.devstack import topics
from services.devstack.provision import AFFILIATES
from services.devstack.stack import Stack

PARTITIONS: Final = 8
KEPT_MS: Final = 3_600_000
TIMEOUT_S: Final = 120.0
RETENTION: Final = "retention"
ANSWERS: Final = "bare-erase.answers"
CONSENT, KEYRING = "consent", "keyring"
TABLES: Final = """
CREATE TABLE member (member_ref uuid PRIMARY KEY, email text, name text, password_hash text, wrapped bytea);
CREATE TABLE suppressed (member_ref uuid PRIMARY KEY, at timestamptz NOT NULL);
CREATE TABLE record (member_ref uuid PRIMARY KEY, content bytea NOT NULL)
"""
FILL: Final = """
INSERT INTO member SELECT r, r || '@example.kr', '이름', repeat('x', 97), repeat('k', 60)::bytea
FROM unnest($1::uuid[]) r
"""
MARK: Final = "INSERT INTO suppressed SELECT r, now() FROM unnest($1::uuid[]) r ON CONFLICT DO NOTHING"
DELETE: Final = f"WITH gone AS (DELETE FROM member WHERE member_ref = ANY($1::uuid[])) {MARK}"
KEEP: Final = "INSERT INTO record SELECT r, repeat('x', 400)::bytea FROM unnest($1::uuid[]) r ON CONFLICT DO NOTHING"
SHRED: Final = "UPDATE member SET wrapped = NULL WHERE member_ref = ANY($1::uuid[])"
WIPE: Final = f"""
WITH wiped AS (
    UPDATE member SET email = NULL, name = NULL, password_hash = NULL WHERE member_ref = ANY($1::uuid[])
) {MARK}
"""
STATEMENTS: Final = {**dict.fromkeys(AFFILIATES, DELETE), RETENTION: KEEP}
"""By who is told, what it does: these four answer."""


def topic_of(party: str) -> str:
    """Return the topic of one party."""
    return f"bare-erase.{party}"


class Bound:
    """Consumers that wait for members to erase; `erased` is one run."""

    def __init__(self, databases: dict[str, asyncpg.Connection], producer: AIOKafkaProducer) -> None:
        self._databases = databases
        self._producer = producer
        self._answered: Counter[str] = Counter()
        self._gone = 0
        self._done = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def running(cls, stack: Stack) -> AsyncIterator["Bound"]:
        """Make databases and topics of its own on these servers, and let the consumers wait."""
        asked = [ANSWERS, *map(topic_of, STATEMENTS)]
        await topics.create(stack.bootstrap, [Topic(name, PARTITIONS, KEPT_MS) for name in asked])
        async with AsyncExitStack() as on:
            names = (*STATEMENTS, CONSENT, KEYRING)
            databases = {name: await on.enter_async_context(_database(stack, name)) for name in names}
            producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap, enable_idempotence=True, linger_ms=2)
            await producer.start()
            on.push_async_callback(producer.stop)
            bound = cls(databases, producer)
            works = [asyncio.create_task(bound._apply(stack.bootstrap, party)) for party in STATEMENTS]
            works.append(asyncio.create_task(bound._finish(stack.bootstrap)))
            on.push_async_callback(_cancelled, works)
            yield bound

    async def erased(self, count: int) -> Run:
        """Erase as many members, who are there before the clock starts."""
        refs = [str(uuid.uuid4()) for _ in range(count)]
        for name in (*AFFILIATES, CONSENT, KEYRING):
            await self._databases[name].execute(FILL, refs)
        self._gone, wanted = 0, count
        started, cpu = time.perf_counter(), time.process_time()
        for ref in refs:
            for party in STATEMENTS:
                await self._send(topic_of(party), ref)
        async with asyncio.timeout(TIMEOUT_S):
            while self._gone < wanted:
                self._done.clear()
                await self._done.wait()
        return Run(count, time.perf_counter() - started, time.process_time() - cpu)

    async def _apply(self, bootstrap: str, party: str) -> None:
        async for refs in _read(bootstrap, topic_of(party)):
            await self._databases[party].execute(STATEMENTS[party], refs)
            for ref in refs:
                await self._send(ANSWERS, ref)

    async def _finish(self, bootstrap: str) -> None:
        async for refs in _read(bootstrap, ANSWERS):
            self._answered.update(refs)
            done = [ref for ref in {*refs} if self._answered[ref] == len(STATEMENTS)]
            if done:
                await self._databases[KEYRING].execute(SHRED, done)
                await self._databases[CONSENT].execute(WIPE, done)
                self._gone += len(done)
                self._done.set()

    async def _send(self, topic: str, ref: str) -> None:
        value = orjson.dumps({"member_ref": ref, "stop": "erased", "at": time.time()})
        await self._producer.send(topic, value, key=ref.encode())


async def _read(bootstrap: str, topic: str) -> AsyncIterator[list[str]]:
    """Yield the references of what arrives, batch after batch, for ever."""
    consumer: Any = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        while True:
            fetched = await consumer.getmany(timeout_ms=100)
            if refs := [record.key.decode() for batch in fetched.values() for record in batch]:
                yield refs
    finally:
        await consumer.stop()


@asynccontextmanager
async def _database(stack: Stack, name: str) -> AsyncIterator[asyncpg.Connection]:
    admin = stack.postgres.admin_dsn
    await servers.execute(admin, f'CREATE DATABASE "bare-{name}"')
    async with servers.connected(f"{admin.rpartition('/')[0]}/bare-{name}") as connection:
        await connection.execute(TABLES)
        yield connection


async def _cancelled(works: Sequence["asyncio.Task[None]"]) -> None:
    for work in works:
        work.cancel()
    await asyncio.gather(*works, return_exceptions=True)

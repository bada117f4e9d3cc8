"""A replay of one affiliate's whole topic, beside a raw consumer that upserts the same number of rows.

Ours is the executor of `dongui replay`, unthrottled: into an empty store (a shadow), and into the live one that has
everything, where it must change nothing. The bound reads the same topic with plain aiokafka and upserts one row a
record with plain asyncpg, newest wins, 1000 records a transaction: it opens no value and keeps no watermark, receipt or
gap. Beside them the same records through the live applier in its own batches.
"""

import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import asyncpg
from aiokafka import ConsumerRecord, TopicPartition

from benchmarks import crowd, harness, servers
from benchmarks.harness import Run
from benchmarks.servers import Servers
from schemas.events import MemberPart, Projection
from schemas.topics import affiliate_topic
from services.propagator.handlers import Propagator
from services.propagator.keys import ContentKeys
from services.propagator.replay import executor
from services.propagator.replay.executor import Executor, Progress
from services.propagator.replay.plan import Plan, Range, Selection, Share
from services.runtime import kafka, postgres
from services.runtime.clock import utc_now

AFFILIATE: Final = "tmax-os"
TOPIC: Final = affiliate_topic(AFFILIATE)
PARTITIONS: Final = 8
EACH: Final = 5
"""Records of one member."""
BATCH: Final = 1000
AT: Final = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
UNTHROTTLED: Final = 10_000_000
TABLE = """
CREATE TABLE bare (member_ref uuid PRIMARY KEY, seq bigint NOT NULL, email text, name text, password_hash text,
                   status text, signed_up_at timestamptz, applied_at timestamptz)
"""
UPSERT = """
INSERT INTO bare SELECT ref, seq, $3, $4, $5, 'active', $6, $6 FROM unnest($1::uuid[], $2::bigint[]) AS t(ref, seq)
ON CONFLICT (member_ref) DO UPDATE SET seq = excluded.seq, email = excluded.email, name = excluded.name,
  password_hash = excluded.password_hash, applied_at = excluded.applied_at WHERE excluded.seq > bare.seq
"""
VALUES: Final = ("haneul@example.kr", "김하늘", "$argon2id$v=19$m=19456,t=2,p=1$" + "A" * 60, AT)


async def measure(events: int, runs: int) -> dict[str, Any]:
    """Return both parts with their ratios, the live applier's rate, and what one event costs."""
    async with servers.running([AFFILIATE]) as on, crowd.key_service() as keys, aiohttp.ClientSession() as session:
        await servers.make_topics(on)
        await _produce(on, events)
        bench = _Bench(on, ContentKeys(session, keys, "a-token"), await _ranges(on), events)
        counters = await bench.counted()
        applied = harness.series([(await bench.applied()).rate for _ in range(runs)])
        empty = await harness.compare(bench.into_empty, bench.bare_into_empty, runs=runs)
        live = await harness.compare(bench.into_live, bench.bare_into_live, runs=runs)
    common = {"event": "events", "bound_is": "raw aiokafka and asyncpg upsert", "workload": {"events": events}}
    parts = [
        {"name": "replay into an empty store", "counters": counters, **empty},
        {"name": "replay into the live store", "counters": {}, **live},
    ]
    return {
        "name": "replay",
        "workload": {"events": events},
        "counters": counters,
        "parts": [common | part for part in parts],
        "applied_per_s": applied,
        "replay_of_apply": float(f"{empty['ours']['per_s']['median'] / applied['median']:.3g}"),
    }


class _Bench:
    """One topic, and as many stores as runs need."""

    def __init__(self, on: Servers, keys: ContentKeys, ranges: tuple[Range, ...], events: int) -> None:
        self._on = on
        self._settings = on.settings()
        self._keys = keys
        self._ranges = ranges
        self._events = events
        self._stores = 0
        self._live = ""

    async def into_empty(self) -> Run:
        self._live = await self._new_store()
        return await self._replayed(self._live)

    async def into_live(self) -> Run:
        """Into the store that has it all: nothing may change."""
        before = await self._on.rows(self._live)
        run = await self._replayed(self._live)
        assert await self._on.rows(self._live) == before, "a replay of what is there wrote something"
        return run

    async def bare_into_empty(self) -> Run:
        await servers.execute(self._on.admin_dsn(AFFILIATE), f"DROP TABLE IF EXISTS bare; {TABLE}")
        return await self._upserted()

    async def bare_into_live(self) -> Run:
        return await self._upserted()

    async def applied(self) -> Run:
        """The live applier, without Faust and its pace: all partitions together, a thousand records a transaction."""
        async with self._store(await self._new_store()) as store:
            return await self._read(store.apply, list(self._ranges))

    async def counted(self) -> dict[str, float]:
        """Replay once and return what one event cost."""
        name = await self._new_store()
        before = await self._on.rows(name)
        await self._replayed(name)
        made = {"statements": await self._on.statements(name), "rows": await self._on.rows(name) - before}
        return {counter: round(count / self._events, 5) for counter, count in made.items()}

    async def _new_store(self) -> str:
        self._stores += 1
        name = f"store_{self._stores}"
        await self._on.database(AFFILIATE, name)
        await servers.execute(self._on.access.admin_dsn, f'GRANT CONNECT ON DATABASE {name} TO "{AFFILIATE}"')
        return name

    @asynccontextmanager
    async def _store(self, name: str) -> AsyncIterator[Propagator]:
        pool = await postgres.open_pool(self._on.access.dsn(AFFILIATE, name), size=4)
        try:
            yield Propagator(AFFILIATE, pool, self._keys, utc_now, leaves=executor.leaves(()))
        finally:
            await pool.close()

    async def _replayed(self, name: str) -> Run:
        plan = _plan(self._ranges)
        async with self._store(name) as store:

            async def opened(_: str) -> Propagator:
                return store

            started, cpu = time.perf_counter(), time.process_time()
            done = await Executor(self._settings, plan, _unheard, {}).run(opened)
            assert done.done == self._events
            return Run(self._events, time.perf_counter() - started, time.process_time() - cpu)

    async def _upserted(self) -> Run:
        connection = await asyncpg.connect(self._on.admin_dsn(AFFILIATE))

        async def upsert(records: Sequence["ConsumerRecord[Any, Any]"]) -> None:
            newest = {record.key.decode(): int(dict(record.headers)["ce_sequence"]) for record in records}
            await connection.execute(UPSERT, list(newest), list(newest.values()), *VALUES)

        try:
            return await self._read(upsert, list(self._ranges))
        finally:
            await connection.close()

    async def _read(self, take: Any, ranges: list[Range]) -> Run:
        started, cpu, left = time.perf_counter(), time.process_time(), self._events
        async with kafka.consuming(self._settings) as consumer:
            consumer.assign([TopicPartition(TOPIC, part.partition) for part in ranges])
            while left:
                fetched = await consumer.getmany(timeout_ms=500, max_records=BATCH)
                records = [record for batch in fetched.values() for record in batch]
                if records:
                    await take(records)
                    left -= len(records)
            return Run(self._events, time.perf_counter() - started, time.process_time() - cpu)


async def _unheard(progress: Progress) -> None:
    """Nobody watches."""
    del progress


def _plan(ranges: tuple[Range, ...]) -> Plan:
    return Plan(
        plan_id=str(uuid.uuid4()),
        planned_at=utc_now(),
        reason="benchmark",
        source="kafka",
        selection=Selection(affiliates=(AFFILIATE,)),
        rate=UNTHROTTLED,
        shares=(Share(affiliate=AFFILIATE, topic=TOPIC, ranges=ranges),),
        estimated_s=0,
        not_sent={},
    )


async def _produce(on: Servers, events: int) -> None:
    producer = await kafka.producer(on.settings())
    try:
        for ref, value, headers in _records(events):
            await producer.send(TOPIC, value, key=ref.encode(), headers=headers)
        await producer.flush()
    finally:
        await producer.stop()


async def _ranges(on: Servers) -> tuple[Range, ...]:
    async with kafka.consuming(on.settings()) as consumer:
        ends = await consumer.end_offsets([TopicPartition(TOPIC, p) for p in range(PARTITIONS)])
    return tuple(Range(partition=p.partition, start=0, end=end, first=0) for p, end in sorted(ends.items()))


def _records(events: int) -> Iterator[tuple[str, bytes, list[tuple[str, bytes]]]]:
    """Every member's first record, then every member's second: as much apart as they are in life."""
    refs = [str(uuid.uuid4()) for _ in range(events // EACH)]
    for seq in range(1, EACH + 1):
        for ref in refs:
            yield ref, *_record(ref, seq)


def _record(ref: str, seq: int) -> tuple[bytes, list[tuple[str, bytes]]]:
    email, name, password_hash, at = VALUES
    projection = Projection(
        change_id=str(uuid.uuid4()),
        member_ref=ref,
        seq=seq,
        prev=seq - 1,
        at=at,
        member=MemberPart(email=email, name=name, password_hash=password_hash, status="active", signed_up_at=at),
        marketing=None,
        processed=None,
    )
    return crowd.travelling(projection, AFFILIATE, TOPIC, "projection", "corrected", previous=seq - 1, at=at)


def table(result: dict[str, Any]) -> str:
    """Return both parts as tables for people, and the rate of the live applier."""
    applied = result["applied_per_s"]
    return (
        "\n".join(harness.table(part) for part in result["parts"])
        + f"\nthe live applier on the same records: {applied['median']:,.0f} events/s, spread {applied['spread']:.0%}; "
        + f"replay into an empty store is {result['replay_of_apply']:g} of it\n"
    )

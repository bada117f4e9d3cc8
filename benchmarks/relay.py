"""The relay's drain: outbox rows read, published, marked and counted, beside a raw produce of the same records.

Both sides use the same idempotent producer settings. The outbox is full when a run begins; opening connections and
leasing shards is not measured. The rows are those of members who signed up and share everything: one fact and three
sealed projections each, with their deliveries and disclosures, which the relay stamps.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import orjson

from benchmarks import harness, members, servers
from benchmarks.harness import Run
from benchmarks.servers import Servers
from services.consent import app
from services.runtime import kafka
from services.runtime.relay import PUBLISHED, SHARDS_HELD, Relay

APPLICATION: Final = "benchmark-relay"
TIMEOUT_S: Final = 120.0
FILL = (
    "UPDATE delivery SET relayed_at = NULL, stage = 'accepted' WHERE relayed_at IS NOT NULL",
    "UPDATE disclosure SET relayed_at = NULL WHERE relayed_at IS NOT NULL",
    "UPDATE outbox SET published_at = NULL WHERE published_at IS NOT NULL",
)
LOOK_S: Final = 0.002
BYTES = "SELECT avg(octet_length(payload) + octet_length(headers::text)) FROM outbox"


async def measure(events: int, runs: int) -> dict[str, Any]:
    """Return both rates, their ratio, and what one event costs in statements, rows and bytes."""
    async with servers.running(members.DATABASES) as on:
        await servers.make_topics(on)
        await members.sign_up(on, events // members.RECORDS_EACH)
        bench = await _Bench.of(on)
        counters = await bench.counted()
        figures = await harness.compare(bench.relayed, bench.produced, runs=runs)
    return {
        "name": "relay",
        "event": "events",
        "bound_is": "raw idempotent produce",
        "workload": {"events": bench.events},
        "counters": counters,
        **figures,
    }


class _Bench:
    """One full outbox, drained again and again."""

    def __init__(self, on: Servers, rows: Sequence[asyncpg.Record]) -> None:
        self._on = on
        self._settings = members.settings(on)
        self._records = [_record(row) for row in rows]
        self.events = len(rows)

    @classmethod
    async def of(cls, on: Servers) -> "_Bench":
        connection = await asyncpg.connect(on.admin_dsn("consent"))
        try:
            query = "SELECT aggregatetype, aggregateid, payload, headers::text FROM outbox ORDER BY position"
            return cls(on, await connection.fetch(query))
        finally:
            await connection.close()

    async def relayed(self) -> Run:
        """Let a relay that waits find the whole outbox full."""
        await self._vacuum()
        async with self._relay() as (relay, done):
            await self._leased()
            await self._fill()
            started, cpu = time.perf_counter(), time.process_time()
            relay.nudge()
            await done
            return Run(self.events, time.perf_counter() - started, time.process_time() - cpu)

    async def produced(self) -> Run:
        """Hand the same records to a producer, and wait for the last acknowledgement."""
        producer = await kafka.producer(self._settings)
        try:
            started, cpu = time.perf_counter(), time.process_time()
            acks = [await producer.send(*record) for record in self._records]
            await asyncio.gather(*acks)
            return Run(self.events, time.perf_counter() - started, time.process_time() - cpu)
        finally:
            await producer.stop()

    async def counted(self) -> dict[str, float]:
        """Drain once more, uncontended by idle polls, and return what one event cost."""
        await self._fill()
        statements, rows = await self._on.statements("consent"), await self._on.rows("consent")
        async with self._relay() as (_, done):
            await done
        made = {
            "statements": await self._on.statements("consent") - statements,
            "rows": await self._on.rows("consent") - rows,
        }
        size = float(await self._value(BYTES))
        return {name: round(count / self.events, 5) for name, count in made.items()} | {"bytes": round(size, 1)}

    @asynccontextmanager
    async def _relay(self) -> AsyncIterator[tuple[Relay, Awaitable[None]]]:
        """A relay as the consent process has it, and what ends when every row was published and marked."""
        stop, wanted = asyncio.Event(), _published() + self.events

        async def done() -> None:
            async with asyncio.timeout(TIMEOUT_S):
                while _published() < wanted:
                    await asyncio.sleep(LOOK_S)
            stop.set()

        relay = app.relay_of(self._settings, APPLICATION)
        running = asyncio.create_task(relay.run(stop))
        try:
            yield relay, done()
        finally:
            stop.set()
            relay.nudge()
            await running

    async def _leased(self) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while SHARDS_HELD.labels(APPLICATION)._value.get() == 0:  # noqa: SLF001
                await asyncio.sleep(0.01)

    async def _fill(self) -> None:
        connection = await asyncpg.connect(self._on.admin_dsn("consent"))
        try:
            async with connection.transaction():
                for statement in FILL:
                    await connection.execute(statement)
        finally:
            await connection.close()

    async def _vacuum(self) -> None:
        await servers.execute(self._on.admin_dsn("consent"), "VACUUM ANALYZE")

    async def _value(self, query: str) -> Any:
        connection = await asyncpg.connect(self._on.admin_dsn("consent"))
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()


def _published() -> float:
    return float(PUBLISHED.labels(APPLICATION)._value.get())  # noqa: SLF001


def _record(row: asyncpg.Record) -> tuple[Any, ...]:
    """Return what `send` takes: topic, value, key, partition and timestamp (the producer's choice), headers."""
    headers = [(name, value.encode()) for name, value in orjson.loads(row["headers"]).items()]
    return row["aggregatetype"], row["payload"], row["aggregateid"].encode(), None, None, headers

"""`python -m benchmarks.notices_bound BOOTSTRAP TOPIC DSN URLS`: notices told, and nothing else of ours.

Reads notices in clear, trusts them, inserts a batch by one statement, posts each to its receiver (URLS: JSON object,
URL by name) as ours posts it, marks it with what was answered, and commits the offset when all of the batch are
answered. As many POSTs to one receiver at a time and as many connections as ours. No keys, no signature, no lease, no
circuit, no evidence, no receipt; an answer that is no acknowledgement ends it.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import asyncpg
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.propagator.notices import plan
from services.runtime.start import collect_seldom

BATCH_MAX = 1000
POOL_SIZE = 12
TABLE = """
CREATE TABLE notice (notice_id uuid PRIMARY KEY, recipient text NOT NULL, body bytea NOT NULL,
                     state text NOT NULL DEFAULT 'pending', attempts int NOT NULL DEFAULT 0, outcome text);
GRANT SELECT, INSERT, UPDATE ON notice TO notices
"""
INSERT = """
INSERT INTO notice (notice_id, recipient, body) SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[])
ON CONFLICT DO NOTHING
"""
MARK = "UPDATE notice SET state = 'acknowledged', attempts = attempts + 1, outcome = $2 WHERE notice_id = $1"
TYPE = "kr.dongui.member.corrected.v1"


@dataclass(frozen=True)
class Receiver:
    """Where a third party is told, and the places of what may be in flight to it."""

    url: str
    places: asyncio.Semaphore


@dataclass(frozen=True)
class Teller:
    """Tells notices by one open HTTP session."""

    pool: asyncpg.Pool
    session: aiohttp.ClientSession
    receivers: dict[str, Receiver]

    async def tell(self, records: list[Any]) -> None:
        """Insert a batch and tell all of it. Raises what goes wrong."""
        found = [orjson.loads(r.value) for r in records]
        ids, names, bodies = [v["notice_id"] for v in found], [v["recipient"] for v in found], [*map(_body, found)]
        await self.pool.execute(INSERT, ids, names, bodies)
        await asyncio.gather(*map(self._one, ids, names, bodies))

    async def _one(self, notice_id: str, recipient: str, body: bytes) -> None:
        receiver = self.receivers[recipient]
        headers = {"Content-Type": "application/json", "webhook-id": notice_id}
        async with receiver.places:
            async with self.session.post(receiver.url, data=body, headers=headers) as answer:
                answer.raise_for_status()
                outcome = orjson.loads(await answer.read())["outcome"]
            await self.pool.execute(MARK, notice_id, outcome)


def _body(v: dict[str, Any]) -> bytes:
    """Return the JSON that ours posts, made of a notice in clear."""
    at = datetime.fromisoformat(v["corrected_at"])
    told = {name: v[name] for name in ("notice_id", "change_id", "member_ref")} | {"sequence": v["seq"]}
    data = told | {"items": v["items"], "values": v["values"], "corrected_at": at}
    return orjson.dumps({"type": TYPE, "timestamp": at, "data": data})


async def _keep(_: asyncpg.Connection) -> None:
    """asyncpg's own reset would be a round trip more for each use; ours has none either."""


async def run(bootstrap: str, topic: str, dsn: str, urls: str) -> None:
    """Tell until SIGTERM."""
    stop, in_flight = asyncio.Event(), plan.load().in_flight
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    collect_seldom()
    receivers = {name: Receiver(url, asyncio.Semaphore(in_flight)) for name, url in orjson.loads(urls).items()}
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        asyncpg.create_pool(dsn, min_size=POOL_SIZE, max_size=POOL_SIZE, reset=_keep) as pool,
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
        _consuming(bootstrap, topic, dsn.rpartition("/")[2]) as consumer,
    ):
        teller = Teller(pool, session, receivers)
        while not stop.is_set():
            fetched: dict[TopicPartition, list[Any]] = await consumer.getmany(timeout_ms=100, max_records=BATCH_MAX)
            if records := [r for batch in fetched.values() for r in batch]:
                await teller.tell(records)
                await consumer.commit()


@contextlib.asynccontextmanager
async def _consuming(bootstrap: str, topic: str, group: str) -> AsyncIterator[Any]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(consumer.stop(), 2)


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))

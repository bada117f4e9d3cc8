"""Outbox to Kafka: leased shards, in order, stop at the first error, mark after the broker's acknowledgement.

A shard is leased by a session advisory lock on the relay's own direct connection, the same on which rows are
marked. The server takes it back from a relay that is frozen for a minute or whose machine is gone. A lease is not a
fence: such a relay can send late duplicates, which every consumer drops by (member, seq). Why this shape and no other:
docs/decisions/0003 (measured losses of the alternatives).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, cast

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from prometheus_client import Counter, Gauge

from services.runtime import batches, kafka, postgres, pulse, tracing
from services.runtime.batches import Message
from services.runtime.outbox import SHARDS
from services.runtime.pace import Pace
from services.runtime.pulse import Pulse

BATCH_MAX = 500
SEND_TIMEOUT_S = 20.0
BACKOFF_S_MAX = 5.0
POLL_S = 0.2
"""Whoever writes nudges the relay of its own process; another's rows are found by looking."""
PACE_S = 0.1
"""Publications are this far apart at least: a commit is not worth a round of its own when the next one is near.

What leaves by most outboxes are answers, and nobody's way to a store. Full batches follow each other at once.
"""
LEASE_SPACE = 7_318_403
"""First key of the two-key advisory lock; the second is the shard."""

SELECT = """
SELECT position, id, aggregatetype, aggregateid, payload, headers FROM outbox
WHERE shard = ANY($1::int[]) AND published_at IS NULL AND position NOT IN (SELECT unnest($3::bigint[]))
ORDER BY position LIMIT $2
"""
FORGET = "SELECT outbox_forget()"
FORGOTTEN_MAX = 1000
"""How many rows that were published long ago `outbox_forget` removes at once; after fewer there is time."""
FORGET_S = 60.0
MARK = "UPDATE outbox SET published_at = now() WHERE position = ANY($1::bigint[])"

PUBLISHED = Counter("dongui_relay_published", "Outbox rows acknowledged by the broker", ["application"])
RESTARTS = Counter("dongui_relay_restarts", "Relay sessions that ended in an error", ["application"])
SHARDS_HELD = Gauge("dongui_relay_shards_held", "Shards this relay leases now", ["application"])

Rows = Sequence[asyncpg.Record]
_T = TypeVar("_T")
log = structlog.get_logger("relay")


class Relay:
    """Publishes one database's outbox. Several may run on one database; each shard has one at a time.

    `mark` is the statement that marks rows by their positions ($1: bigint[]); what must become true with it is in it.
    """

    def __init__(
        self,
        dsn: str,
        producer_factory: Callable[[], Awaitable[AIOKafkaProducer]],
        *,
        prefix: str,
        mark: str = MARK,
        poll_s: float = POLL_S,
        pace_s: float = PACE_S,
        shards_max: int = SHARDS,
        application: str = "relay",
    ) -> None:
        self._dsn = dsn
        self._producer_factory = producer_factory
        self._prefix = prefix
        self._mark_statement = mark
        self._poll_s = poll_s
        self._pace_s = pace_s
        self._shards_max = shards_max
        self._application = application
        self._wake = asyncio.Event()
        self._forget_at = 0.0

    def nudge(self) -> None:
        """Look at the outbox now rather than at the next poll."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop`; after any error start again with a new connection and a new producer."""
        with pulse.of(self._application) as beat:
            await self._run(stop, beat)

    async def _run(self, stop: asyncio.Event, beat: Pulse) -> None:
        """Only a hang is a stall: while the broker is away rows wait, and a new start would not help them."""
        backoff_s = 0.1
        while not stop.is_set():
            beat.turn()
            try:
                await self._session(stop, beat)
                backoff_s = 0.1
            except Exception as error:  # noqa: BLE001
                # A fatal producer state, a lost lease or a broker that is away all end here: nothing is
                # marked that was not acknowledged, so a new session simply reads the same rows again.
                RESTARTS.labels(self._application).inc()
                log.warning("relay_session_ended", error=type(error).__name__, application=self._application)
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311
                backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)

    async def _session(self, stop: asyncio.Event, beat: Pulse) -> None:
        connection = await postgres.connect(
            self._dsn, application=f"dongui-{self._application}", is_lease=True, planner=postgres.STEADY
        )
        try:
            producer = await self._producer_factory()
            try:
                await self._drain_until(stop, connection, producer, beat)
            finally:
                await kafka.close(producer)
        finally:
            SHARDS_HELD.labels(self._application).set(0)
            connection.terminate()  # ends the session at once, and with it every lease

    async def _drain_until(
        self, stop: asyncio.Event, connection: asyncpg.Connection, producer: AIOKafkaProducer, beat: Pulse
    ) -> None:
        """Publish batch after batch; while one is on its way the last one is marked and the next one is read."""
        held: set[int] = set()
        polls = 0
        pace = Pace(self._pace_s)
        acknowledged: Rows = []
        following: Rows = []
        while not stop.is_set():
            beat.turn()
            if not following:
                await pace.turn()
            if polls % 20 == 0:
                await self._lease(connection, held)
                await self._forget(connection)
            polls += 1
            rows = following or await self._next(connection, held)
            following = await _both(
                self._mark_and_read(connection, held, acknowledged, rows), self._publish(producer, rows)
            )
            acknowledged = rows
            if not following:
                await self._mark(connection, acknowledged)
                acknowledged = []
                await self._pause()
        await self._mark(connection, acknowledged)

    async def _mark_and_read(
        self, connection: asyncpg.Connection, held: set[int], acknowledged: Rows, leaving: Rows
    ) -> Rows:
        """Return what follows the batch that is leaving; nothing when that was all there is."""
        await self._mark(connection, acknowledged)
        return await self._next(connection, held, leaving) if len(leaving) == BATCH_MAX else []

    async def _next(self, connection: asyncpg.Connection, held: set[int], known: Rows = ()) -> Rows:
        """Return what waits, without what is known to be on its way."""
        rows: Rows = await connection.fetch(SELECT, sorted(held), BATCH_MAX, [row["position"] for row in known])
        return rows

    async def _lease(self, connection: asyncpg.Connection, held: set[int]) -> None:
        """Take free shards up to `shards_max`, starting at a random one so that relays spread out."""
        first = random.randrange(SHARDS)  # noqa: S311
        for offset in range(SHARDS):
            if len(held) >= self._shards_max:
                break
            shard = (first + offset) % SHARDS
            if shard not in held and await connection.fetchval(
                "SELECT pg_try_advisory_lock($1, $2)", LEASE_SPACE, shard
            ):
                held.add(shard)
        SHARDS_HELD.labels(self._application).set(len(held))

    async def _forget(self, connection: asyncpg.Connection) -> None:
        """Remove some of what was published more than a day ago, so that the table does not grow with history."""
        now = asyncio.get_running_loop().time()
        if now >= self._forget_at:
            gone = await connection.fetchval(FORGET)
            self._forget_at = now if gone == FORGOTTEN_MAX else now + FORGET_S

    async def _publish(self, producer: AIOKafkaProducer, rows: Rows) -> None:
        """Send rows in order; the broker has all of them when it returns."""
        with tracing.sending((row["aggregatetype"], row["headers"]) for row in rows):
            await batches.publish(producer, [self._message(row) for row in rows], SEND_TIMEOUT_S)

    async def _mark(self, connection: asyncpg.Connection, rows: Rows) -> None:
        if not rows:
            return
        await connection.execute(self._mark_statement, [row["position"] for row in rows])
        PUBLISHED.labels(self._application).inc(len(rows))

    def _message(self, row: asyncpg.Record) -> Message:
        headers = [(name, value.encode()) for name, value in row["headers"].items()]
        return Message(self._prefix + row["aggregatetype"], row["aggregateid"].encode(), row["payload"], headers)

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), self._poll_s)
        except TimeoutError:
            return
        self._wake.clear()


async def _both(first: Awaitable[_T], second: Awaitable[None]) -> _T:
    """Let both come to an end, whatever becomes of the other; raise what ended one, or return what the first does.

    The first is under way before the second begins: the database works while messages are made.
    """
    results = await asyncio.gather(first, second, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("_T", results[0])

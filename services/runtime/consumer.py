"""Follow topics without a consumer group: offsets live in the caller's database, with the effects.

A batch's effects and the offsets after it are stored in ONE transaction, so a crash, an error or
a lost connection leaves both or neither; the follower then opens again at the stored offsets.
Nothing is skipped. A record comes twice only when topics are recreated or a database is restored:
handlers stay idempotent.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from prometheus_client import Counter, Gauge

from services.runtime import kafka, pulse, tracing
from services.runtime.pace import Pace
from services.runtime.pulse import Pulse
from services.runtime.settings import Settings

BATCH_MAX = 500
POLL_MS = 100
PACE_S = 0.1
"""Transactions of one follower are this far apart at least: what it does is on nobody's way to a store.

Full batches follow each other at once.
"""
BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 5.0
STEADY_S = 10.0
"""A session that lasted this long was healthy: the next pause starts small again."""
LOOK_S = 10.0
"""How often a quiet follower asks where its topics end: a consumer that is stuck says that nothing is there."""
STUCK_S = 60.0
ASK_TIMEOUT_S = 10.0

FOLLOWED = Counter("dongui_follow_records", "Records whose effects were committed", ["application"])
RESTARTS = Counter("dongui_follow_restarts", "Sessions that ended in an error", ["application"])
OFFSETS_LOST = Counter("dongui_follow_offsets_lost", "Stored offsets the broker no longer has", ["application"])

LAG = Gauge("dongui_follow_lag", "Records on the followed topics that are not handled yet", ["application"])

log = structlog.get_logger("consumer")
Batch = Sequence["ConsumerRecord[Any, Any]"]
Handle = Callable[[asyncpg.Connection, Batch], Awaitable[None]]
NextOffsets = dict[tuple[str, int], int]
"""(physical topic, partition) -> the offset to read next."""


class TopicsMissingError(Exception):
    """A topic to follow does not exist yet; the follower tries again until it does."""


class StuckError(Exception):
    """Records wait, and this consumer brings none: the session is opened anew."""


class Offsets(Protocol):
    """Where the next offsets are kept: in the database of the effects, by their transaction."""

    async def load(self, tx: asyncpg.Connection, topics: Sequence[str]) -> NextOffsets:
        """Return what is stored for these physical topics; an absent partition starts at 0."""
        ...

    async def store(self, tx: asyncpg.Connection, offsets: Mapping[tuple[str, int], int]) -> None:
        """Store the next offsets in the caller's transaction."""
        ...


class Acquires(Protocol):
    """A pool, or anything that lends a connection for one transaction as `Pool.acquire()` does."""

    def acquire(self) -> Any: ...


class PostgresOffsets:
    """One row per partition in `consumer_offset(topic, partition, next_offset)`, overwritten."""

    _LOAD = """
    SELECT topic, partition, next_offset FROM consumer_offset WHERE topic = ANY($1::text[])
    """
    _STORE = """
    INSERT INTO consumer_offset (topic, partition, next_offset)
    SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[])
    ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset
    """

    async def load(self, tx: asyncpg.Connection, topics: Sequence[str]) -> NextOffsets:
        """Return the stored row of each partition."""
        rows = await tx.fetch(self._LOAD, list(topics))
        return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def store(self, tx: asyncpg.Connection, offsets: Mapping[tuple[str, int], int]) -> None:
        """Overwrite the row of each partition."""
        await tx.execute(self._STORE, *_columns(offsets))


class AppendedOffsets:
    """Rows are only appended (the role may not UPDATE); the newest row of a partition counts."""

    # From one partition to the next by the index: DISTINCT ON would read every row there ever was.
    _LOAD = """
    WITH RECURSIVE newest AS (
        SELECT c.* FROM unnest($1::text[]) AS t(topic) CROSS JOIN LATERAL (
            SELECT topic, partition, next_offset FROM consumer_offset o
            WHERE o.topic = t.topic ORDER BY partition, position DESC LIMIT 1) AS c
        UNION ALL
        SELECT c.* FROM newest n CROSS JOIN LATERAL (
            SELECT topic, partition, next_offset FROM consumer_offset o
            WHERE o.topic = n.topic AND o.partition > n.partition ORDER BY partition, position DESC LIMIT 1) AS c
    )
    SELECT topic, partition, next_offset FROM newest
    """
    _STORE = """
    INSERT INTO consumer_offset (topic, partition, next_offset)
    SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[])
    """

    async def load(self, tx: asyncpg.Connection, topics: Sequence[str]) -> NextOffsets:
        """Return the newest row of each partition."""
        rows = await tx.fetch(self._LOAD, list(topics))
        return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def store(self, tx: asyncpg.Connection, offsets: Mapping[tuple[str, int], int]) -> None:
        """Append one row per partition."""
        await tx.execute(self._STORE, *_columns(offsets))


def _columns(offsets: Mapping[tuple[str, int], int]) -> tuple[list[str], list[int], list[int]]:
    keys = sorted(offsets)
    return [k[0] for k in keys], [k[1] for k in keys], [offsets[k] for k in keys]


@dataclass(frozen=True, kw_only=True)
class _Follower:
    settings: Settings
    topics: list[str]
    pool: Acquires
    offsets: Offsets
    handle: Handle
    stop: asyncio.Event
    batch_max: int
    application: str
    caught_up: asyncio.Event | None
    pace_s: float
    beat: Pulse


async def follow(  # noqa: PLR0913
    settings: Settings,
    *,
    topics: Sequence[str],
    pool: Acquires,
    offsets: Offsets,
    handle: Handle,
    stop: asyncio.Event,
    batch_max: int = BATCH_MAX,
    application: str = "follower",
    caught_up: asyncio.Event | None = None,
    pace_s: float = PACE_S,
) -> None:
    """Hand every record of the logical `topics` to `handle(tx, records)` until `stop` is set.

    `handle` and the offsets share one transaction of a connection of `pool`. Any error ends the
    session; the next one starts, after a jittered pause, at the stored offsets. Records of one
    partition come in order. Topics that do not exist yet are waited for. `caught_up` is set once
    everything that was in the topics when the session began has been handled. Transactions are `pace_s`
    seconds apart at least.
    """
    physical = [settings.topic_prefix + topic for topic in topics]
    with pulse.of(application) as beat:
        await _follow(
            _Follower(
                settings=settings,
                topics=physical,
                pool=pool,
                offsets=offsets,
                handle=handle,
                stop=stop,
                batch_max=batch_max,
                application=application,
                caught_up=caught_up,
                pace_s=pace_s,
                beat=beat,
            )
        )


async def _follow(follower: _Follower) -> None:
    stop, application = follower.stop, follower.application
    backoff_s = BACKOFF_S_MIN
    while not stop.is_set():
        follower.beat.turn()
        opened_at = asyncio.get_running_loop().time()
        try:
            await _until_stopped(stop, _session(follower))
        except Exception as error:  # noqa: BLE001
            # Whatever went wrong, nothing was stored beyond the last commit: open again from there.
            RESTARTS.labels(application).inc()
            log.warning("follow_session_ended", error=type(error).__name__, application=application)
            if isinstance(error, KafkaError | OSError):
                follower.beat.turn(waits=False)  # a server is away: a new start of this process would not help
            if asyncio.get_running_loop().time() - opened_at > STEADY_S:
                backoff_s = BACKOFF_S_MIN
            await _pause(stop, backoff_s * random.uniform(0.5, 1.0))  # noqa: S311
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)


async def _until_stopped(stop: asyncio.Event, session: Any) -> None:
    """Run the session; `stop` cancels it wherever it waits (an open transaction rolls back)."""
    running = asyncio.ensure_future(session)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
    finally:
        stopping.cancel()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await running


async def _session(follower: _Follower) -> None:
    partitions = await _partitions(follower.settings, follower.topics)
    # `none`: an offset the broker dropped while we read ends the session, and `_start` says so.
    consumer = kafka.consumer(follower.settings, auto_offset_reset="none")
    try:
        await consumer.start()
        positions = await _open(follower, consumer, partitions)
        await _drain(follower, consumer, positions)
    finally:
        await kafka.end(consumer)


async def _partitions(settings: Settings, topics: list[str]) -> list[TopicPartition]:
    """Return every partition of the topics; raise TopicsMissingError while one has none."""
    admin = AIOKafkaAdminClient(**kafka.client_options(settings))
    await admin.start()
    try:
        # Listing asks for all topics: asking for one by name would create it on a lenient broker.
        if not set(topics) <= set(await admin.list_topics()):
            raise TopicsMissingError
        described = await admin.describe_topics(topics)
    finally:
        await admin.close()
    found = [TopicPartition(t["topic"], p["partition"]) for t in described for p in t["partitions"]]
    if {p.topic for p in found} != set(topics):
        raise TopicsMissingError
    return found


async def _open(follower: _Follower, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> NextOffsets:
    """Assign all partitions and seek to the stored offsets; return the positions."""
    consumer.assign(partitions)
    async with follower.pool.acquire() as connection:
        stored = await follower.offsets.load(connection, follower.topics)
    first = await consumer.beginning_offsets(partitions)
    last = await consumer.end_offsets(partitions)
    positions: NextOffsets = {}
    for partition in partitions:
        key = (partition.topic, partition.partition)
        positions[key] = _start(follower, stored.get(key), first[partition], last[partition])
        consumer.seek(partition, positions[key])
    return positions


def _start(follower: _Follower, stored: int | None, first: int, last: int) -> int:
    """Return where to start; a stored offset that the broker no longer has is said out loud."""
    if stored is None:
        return first
    if first <= stored <= last:
        return stored
    OFFSETS_LOST.labels(follower.application).inc()
    known = {"stored": stored, "first": first, "last": last}
    log.error("follow_offset_lost", application=follower.application, **known)
    return first


async def _drain(follower: _Follower, consumer: AIOKafkaConsumer, positions: NextOffsets) -> None:
    goal = await _ends(consumer)
    _note_lag(follower, positions, goal)
    now, pace = asyncio.get_running_loop().time, Pace(follower.pace_s)
    began_at = looked_at = now()
    records: list[ConsumerRecord[Any, Any]] = []
    while not follower.stop.is_set():
        follower.beat.turn()
        _note_progress(follower, positions, goal)
        if len(records) < follower.batch_max:
            await pace.turn()
        if now() - looked_at >= LOOK_S:
            _note_lag(follower, positions, await asyncio.wait_for(_ends(consumer), ASK_TIMEOUT_S))
            looked_at = now()
            if min(follower.beat.stalled_s(), looked_at - began_at) >= STUCK_S:
                raise StuckError
        fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=follower.batch_max)
        records = [record for batch in fetched.values() for record in batch]
        if not records:
            continue
        after = {(tp.topic, tp.partition): b[-1].offset + 1 for tp, b in fetched.items() if b}
        with tracing.processing(records, follower.application):
            async with follower.pool.acquire() as connection, connection.transaction():
                await follower.handle(connection, records)
                await follower.offsets.store(connection, after)
        positions |= after
        follower.beat.moved()
        FOLLOWED.labels(follower.application).inc(len(records))


async def _ends(consumer: AIOKafkaConsumer) -> NextOffsets:
    ends = await consumer.end_offsets(list(consumer.assignment()))
    return {(tp.topic, tp.partition): offset for tp, offset in ends.items()}


def _note_lag(follower: _Follower, positions: NextOffsets, ends: NextOffsets) -> None:
    lag = sum(max(0, end - positions[key]) for key, end in ends.items())
    LAG.labels(follower.application).set(lag)
    follower.beat.turn(waits=lag > 0)


def _note_progress(follower: _Follower, positions: NextOffsets, goal: NextOffsets) -> None:
    if follower.caught_up is None or follower.caught_up.is_set():
        return
    if all(positions[key] >= offset for key, offset in goal.items()):
        follower.caught_up.set()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)

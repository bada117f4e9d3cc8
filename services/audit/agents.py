"""The one writer: leased, it follows facts and receipts, signs checkpoints and sends seals.

The lease is a session advisory lock held by the connection that writes the leaves, so losing the
connection loses lease and write together; a second process stands by. Were two ever to write, the
primary key of `entry` and of `checkpoint` lets only one of them commit.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import structlog
from prometheus_client import Gauge

from schemas.topics import FACTS, RECEIPTS
from services.audit import anchors, patrol, seals, sweep
from services.audit.anchors import Anchors
from services.audit.handlers import Writer
from services.audit.notary import InconsistentLogError, Notary
from services.audit.patrol import Patrol
from services.runtime import kafka, postgres
from services.runtime.clock import Clock
from services.runtime.consumer import AppendedOffsets, follow
from services.runtime.settings import Settings

LEASE = 7_318_405
STANDBY_POLL_S = 0.5
ACCESS_POLL_S = 0.5
ACCESSES = "access"
"""The name under which the position in table `access` is kept with the topics' offsets."""
PING_INTERVAL_S = 5.0
PING_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
BACKOFF_S_MAX = 5.0

LEADING = Gauge("dongui_audit_writer", "1 while this process is the log's writer")
log = structlog.get_logger("audit")


class LeaseLostError(Exception):
    """The writer's connection is gone, and the lease with it. Another process may be the writer now."""


@dataclass(frozen=True)
class Parts:
    """What the writer works with."""

    settings: Settings
    pool: asyncpg.Pool
    notary: Notary
    anchors: Anchors
    patrol: Patrol
    clock: Clock


class Lease:
    """Lends the one leased connection, to one user at a time, as a pool would."""

    def __init__(self, connection: asyncpg.Connection, over: asyncio.Event) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()
        connection.add_termination_listener(lambda _: over.set())

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend the connection; raise LeaseLostError when it is closed."""
        async with self._lock:
            if self._connection.is_closed():
                raise LeaseLostError
            yield self._connection

    async def watch(self, over: asyncio.Event) -> None:
        """Ask now and then whether the connection lives; raise when it does not answer."""
        while not await _paused(over, PING_INTERVAL_S):
            async with self.acquire() as connection:
                await connection.fetchval("SELECT 1", timeout=PING_TIMEOUT_S)


async def write(parts: Parts, stop: asyncio.Event) -> None:
    """Be the writer whenever the lease is free, until `stop`."""
    backoff_s = 0.1
    while not stop.is_set():
        try:
            await _lead_once(parts, stop)
            backoff_s = 0.1
        except Exception as error:  # noqa: BLE001
            # Leaves and offsets are stored together, seals are repeated: starting again loses nothing.
            log.warning("audit_writer_ended", error=type(error).__name__)
            await _paused(stop, backoff_s * random.uniform(0.5, 1.0))  # noqa: S311
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)


async def _lead_once(parts: Parts, stop: asyncio.Event) -> None:
    dsn = parts.settings.secret("audit_dsn")
    connection = await postgres.connect(dsn, application="dongui-audit-writer", is_lease=True)
    try:
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LEASE):
            if await _paused(stop, STANDBY_POLL_S):
                return
        LEADING.set(1)
        log.info("audit_writer_leads")
        await _lead(parts, connection, stop)
    finally:
        LEADING.set(0)
        connection.terminate()  # ends the session at once, and the lease with it


async def _lead(parts: Parts, connection: asyncpg.Connection, stop: asyncio.Event) -> None:
    over = asyncio.Event()
    lease = Lease(connection, over)
    ends = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(over.wait())]
    writer = Writer()
    works = [
        asyncio.ensure_future(_follow(parts, lease, writer, over)),
        asyncio.ensure_future(_accesses(lease, writer, over)),
        asyncio.ensure_future(_seal(parts, over)),
        asyncio.ensure_future(anchors.watch(parts.anchors, parts.settings.anchor_interval_s, over)),
        asyncio.ensure_future(patrol.watch(parts.patrol, parts.settings.verify_interval_s, over)),
        asyncio.ensure_future(sweep.watch(parts.pool, parts.clock, over)),
        asyncio.ensure_future(lease.watch(over)),
    ]
    try:
        await asyncio.wait([*ends, *works], return_when=asyncio.FIRST_COMPLETED)
        over.set()
        await asyncio.wait(works, timeout=CLOSE_TIMEOUT_S)
    finally:
        for task in [*ends, *works]:
            task.cancel()
        results = await asyncio.gather(*works, return_exceptions=True)
        await asyncio.gather(*ends, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _follow(parts: Parts, lease: Lease, writer: Writer, over: asyncio.Event) -> None:
    await follow(
        parts.settings,
        topics=[FACTS, RECEIPTS],
        pool=lease,
        offsets=AppendedOffsets(),
        handle=writer.append,
        stop=over,
        application="audit",
    )


async def _accesses(lease: Lease, writer: Writer, over: asyncio.Event) -> None:
    """Make leaves of the looks at the log. The position commits with the leaves."""
    offsets = AppendedOffsets()
    async with lease.acquire() as connection:
        stored = await offsets.load(connection, [ACCESSES])
    after = stored.get((ACCESSES, 0), 0)
    while not await _paused(over, ACCESS_POLL_S):
        async with lease.acquire() as connection, connection.transaction():
            last = await writer.append_accesses(connection, after)
            if last is not None:
                await offsets.store(connection, {(ACCESSES, 0): last})
        after = after if last is None else last


async def _seal(parts: Parts, over: asyncio.Event) -> None:
    """Sign what grew, then say what is sealed; a log that contradicts a checkpoint gets neither."""
    producer = await kafka.producer(parts.settings)
    try:
        while not over.is_set():
            try:
                await parts.notary.sign()
                await seals.publish(parts.pool, producer, parts.settings.topic_prefix)
            except InconsistentLogError:
                log.error("audit_log_inconsistent")
            await _paused(over, parts.settings.checkpoint_interval_s)
    finally:
        await kafka.close(producer)


async def _paused(stop: asyncio.Event, seconds: float) -> bool:
    """Wait at most `seconds`; return whether `stop` is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()

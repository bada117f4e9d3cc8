"""How old the oldest row of an outbox is that the broker has not acknowledged: looked at from outside the relay."""

import asyncio
import contextlib
from typing import Final

import asyncpg
import structlog
from prometheus_client import Gauge

from services.runtime.outbox import SHARDS
from services.runtime.postgres import DATABASE_ERRORS

LOOK_S: Final = 10.0
ROWS_MAX: Final = 10_000
"""Counting stops here: a gauge need not know by how much a broken relay is behind."""

_ROWS = "SELECT count(*) FROM (SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT $1) waiting"
_OLDEST = """
SELECT coalesce(extract(epoch FROM now() - min(first.created_at)), 0)::float8
FROM generate_series(0, $1::int - 1) AS shards (shard)
CROSS JOIN LATERAL (SELECT created_at FROM outbox o WHERE o.shard = shards.shard AND published_at IS NULL
                    ORDER BY position LIMIT 1) AS first
"""
OLDEST = Gauge("dongui_outbox_oldest_seconds", "Age of the oldest outbox row without acknowledgement", ["application"])
ROWS = Gauge("dongui_outbox_rows", "Outbox rows without acknowledgement, counted up to 10,000", ["application"])
log = structlog.get_logger("backlog")


async def watch(pool: asyncpg.Pool, application: str, stop: asyncio.Event) -> None:
    """Look every few seconds until `stop`; a database that is away is looked at again later."""
    while not stop.is_set():
        try:
            await look(pool, application)
        except DATABASE_ERRORS as error:
            log.warning("backlog_unknown", error=type(error).__name__, application=application)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_S)


async def look(pool: asyncpg.Pool, application: str) -> None:
    """Set the gauges once."""
    seconds, rows = await read(pool)
    OLDEST.labels(application).set(seconds)
    ROWS.labels(application).set(rows)


async def read(database: asyncpg.Pool | asyncpg.Connection) -> tuple[float, int]:
    """Return (age of the oldest waiting row in seconds, how many wait: at most ROWS_MAX)."""
    return await database.fetchval(_OLDEST, SHARDS), await database.fetchval(_ROWS, ROWS_MAX)

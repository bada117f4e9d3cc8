"""How old the oldest row of an outbox is that the broker has not acknowledged: looked at from outside the relay."""

import asyncio
from functools import partial
from typing import Final

import asyncpg
from prometheus_client import Gauge

from services.runtime import looks

ROWS_MAX: Final = 10_000
"""Counting stops here: a gauge need not know by how much a broken relay is behind."""

_ROWS = "SELECT count(*) FROM (SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT $1) waiting"
_OLDEST = """
SELECT coalesce(extract(epoch FROM now() - (
  SELECT created_at FROM outbox WHERE published_at IS NULL ORDER BY position LIMIT 1)), 0)::float8
"""
OLDEST = Gauge("dongui_outbox_oldest_seconds", "Age of the oldest outbox row without acknowledgement", ["application"])
ROWS = Gauge("dongui_outbox_rows", "Outbox rows without acknowledgement, counted up to 10,000", ["application"])


async def watch(pool: asyncpg.Pool, application: str, stop: asyncio.Event) -> None:
    """Look every few seconds until `stop`; a database that is away is looked at again later."""
    await looks.watch(partial(look, pool, application), stop, unknown="backlog_unknown", application=application)


async def look(pool: asyncpg.Pool, application: str) -> None:
    """Set the gauges once."""
    seconds, rows = await read(pool)
    OLDEST.labels(application).set(seconds)
    ROWS.labels(application).set(rows)


async def read(database: asyncpg.Pool | asyncpg.Connection) -> tuple[float, int]:
    """Return (age of the oldest waiting row in seconds, how many wait: at most ROWS_MAX)."""
    return await database.fetchval(_OLDEST), await database.fetchval(_ROWS, ROWS_MAX)

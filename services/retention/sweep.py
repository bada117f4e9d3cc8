"""Destruction when the time of keeping is over: row and key go, an entry for the audit log remains (2.1, 7.1).

And the rotation of the KEK: the keys are wrapped anew, page by page.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import Final

import asyncpg
import structlog
from prometheus_client import Counter

from services.keyring.kek import KekError, KekProvider
from services.retention import answers, store
from services.retention.readings import Vault
from services.retention.store import SQL
from services.runtime import outbox
from services.runtime.clock import KST
from services.runtime.postgres import DATABASE_ERRORS

EVERY_S: Final = 600.0
PAGE: Final = 200
DESTROYED = Counter("dongui_retention_destroyed", "Records destroyed at the end of their time", ["class"])
log = structlog.get_logger("retention")


async def run(vault: Vault, stop: asyncio.Event, nudge: Callable[[], None]) -> None:
    """Look at once and then every ten minutes until `stop`; a database that is away is asked again next time."""
    while not stop.is_set():
        try:
            if await look(vault.pool, vault.clock()):
                nudge()
            await rewrap(vault.pool, vault.kek)
        except (*DATABASE_ERRORS, KekError) as error:
            log.warning("sweep_put_off", error=type(error).__name__)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), EVERY_S)


async def look(pool: asyncpg.Pool, at: datetime) -> int:
    """Destroy all whose last day is over by `at`; return how many. Several processes may: each row goes once."""
    total = 0
    while done := await _page(pool, at):
        total += done
    await pool.fetchval(SQL["purge_readings"], at.astimezone(KST).date())
    return total


async def rewrap(pool: asyncpg.Pool, kek: KekProvider) -> int:
    """Wrap by the KEK of now what an earlier one wrapped; content stays as it is. Return how many. Raises KekError."""
    total = 0
    while True:
        async with pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(SQL["keys_to_rewrap"], kek.key_id, PAGE)
            for row in rows:
                wrapped = await kek.rewrap(row["wrapped"], row["record_id"].encode(), row["kek_id"])
                await connection.execute(SQL["rewrap"], row["record_id"], wrapped, kek.key_id)
        if not rows:
            return total
        total += len(rows)


async def _page(pool: asyncpg.Pool, at: datetime) -> int:
    async with pool.acquire() as connection, connection.transaction():
        rows = await store.destroy(connection, at.astimezone(KST).date(), at, PAGE)
        await outbox.append(connection, [_entry(row, at) for row in rows])
    for row in rows:
        DESTROYED.labels(row["class"]).inc()
    return len(rows)


def _entry(row: asyncpg.Record, at: datetime) -> outbox.Record:
    codes = {
        "class": row["class"],
        "rule": row["rule"],
        "place": "retention",
        "destroy_on": row["destroy_on"].isoformat(),
    }
    told = ("retention_destroyed", row["record_id"], "destroyed", at)
    return answers.entry(*told, actor="system", member_ref=row["member_ref"], codes=codes)

"""The net under Kafka: the log has both the facts and the receipts, so it can say which answer is missing."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
import structlog
from prometheus_client import Gauge

from services.audit.store import SQL
from services.runtime.clock import Clock
from services.runtime.postgres import DATABASE_ERRORS

# How long a recipient may take before staff are told. The legal deadlines are longer and run elsewhere.
DEADLINES = {"affiliate": timedelta(minutes=15), "third_party": timedelta(days=1)}
SWEEP_INTERVAL_S = 30.0
LIST_MAX = 1000
OVERDUE = Gauge("dongui_audit_overdue", "Answers owed past their deadline", ["kind"])
log = structlog.get_logger("audit")


@dataclass(frozen=True)
class Overdue:
    """One answer that is missing: the fact's leaf, the recipient, since when it should have been here."""

    index: int
    change_id: str
    recipient: str
    kind: str
    due_at: datetime


async def overdue(pool: asyncpg.Pool, now: datetime, limit: int = LIST_MAX) -> list[Overdue]:
    """Return up to `limit` missing answers of each kind, the longest overdue first."""
    found: list[Overdue] = []
    for kind, deadline in DEADLINES.items():
        rows = await pool.fetch(SQL["list_overdue"], kind, now - deadline, limit)
        found += [Overdue(r["index"], r["change_id"], r["recipient"], kind, r["at"] + deadline) for r in rows]
    return sorted(found, key=lambda one: (one.due_at, one.index, one.recipient))


async def watch(pool: asyncpg.Pool, clock: Clock, stop: asyncio.Event) -> None:
    """Keep the metric current until `stop`, and forget offsets of long ago; a database that is away can wait."""
    while not stop.is_set():
        try:
            await _look(pool, clock())
        except DATABASE_ERRORS as error:
            log.warning("sweep_put_off", error=type(error).__name__)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), SWEEP_INTERVAL_S)


async def _look(pool: asyncpg.Pool, now: datetime) -> None:
    for kind, deadline in DEADLINES.items():
        OVERDUE.labels(kind).set(await pool.fetchval(SQL["count_overdue"], kind, now - deadline))
    await pool.fetchval(SQL["offsets_forget"])

"""What staff see of the queue: why notices wait, how many, since when. Looked at again and again, never on the way."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import asyncpg
import structlog
from prometheus_client import Gauge

from services.propagator.notices import store
from services.propagator.notices.endpoints import Endpoint
from services.propagator.notices.model import Waiting
from services.runtime.clock import Clock
from services.runtime.postgres import DATABASE_ERRORS

LOOK_S: Final = 5.0
OPEN = Gauge("dongui_notices_open", "Notices without an answer", ["recipient", "state"])
OLDEST = Gauge("dongui_notices_oldest_open_seconds", "Age of the oldest notice without an answer", ["recipient"])
DISABLED = Gauge("dongui_notice_endpoint_disabled", "1 when the endpoint answered 410 Gone", ["recipient"])
log = structlog.get_logger("notices")


async def watch(pool: asyncpg.Pool, endpoints: Mapping[str, Endpoint], clock: Clock, stop: asyncio.Event) -> None:
    """Look every few seconds until `stop`; a database that is away is looked at again later."""
    while not stop.is_set():
        try:
            await look(pool, endpoints, clock())
        except DATABASE_ERRORS as error:
            log.warning("notices_database_unavailable", error=type(error).__name__)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_S)


async def look(pool: asyncpg.Pool, endpoints: Mapping[str, Endpoint], now: datetime) -> None:
    """Write into the rows why they wait, and set the gauges."""
    disabled = await store.disabled_urls(pool)
    for endpoint in endpoints.values():
        DISABLED.labels(endpoint.recipient).set((endpoint.recipient, endpoint.url) in disabled)
    for recipient in {row["recipient"] for row in await store.census(pool)}:
        await store.wait_as(pool, recipient, _why(endpoints.get(recipient), disabled))
    _show(await store.census(pool), now)


def _why(endpoint: Endpoint | None, disabled: set[tuple[str, str]]) -> Waiting:
    if endpoint is None:
        return "no_endpoint"
    return "disabled" if (endpoint.recipient, endpoint.url) in disabled else "pending"


def _show(rows: list[asyncpg.Record], now: datetime) -> None:
    OPEN.clear()
    OLDEST.clear()
    oldest: dict[str, datetime] = {}
    for row in rows:
        recipient = row["recipient"]
        OPEN.labels(recipient, row["state"]).set(row["notices"])
        oldest[recipient] = min(row["oldest"], oldest.get(recipient, now))
    for recipient, since in oldest.items():
        OLDEST.labels(recipient).set((now - since).total_seconds())

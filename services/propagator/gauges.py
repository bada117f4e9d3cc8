"""What waits in one affiliate's store, as gauges: gaps, parked states, a pause."""

import asyncio
from datetime import datetime
from functools import partial

from prometheus_client import Gauge

from services.propagator.handlers import Propagator
from services.propagator.store import SQL
from services.runtime import looks

GAPS = Gauge("dongui_gaps_open", "Gaps in members' sequences that are not closed", ["affiliate"])
GAP_S = Gauge("dongui_gap_oldest_seconds", "Age of the oldest open gap", ["affiliate"])
PARKED = Gauge("dongui_parked", "States that wait for the end of a pause", ["affiliate"])
PAUSED_S = Gauge("dongui_paused_seconds", "For how long the affiliate is paused; 0 when it is not", ["affiliate"])


async def watch(propagator: Propagator, stop: asyncio.Event) -> None:
    """Look every few seconds until `stop`; a database that is away is looked at again later."""
    await looks.watch(partial(look, propagator), stop, unknown="gauges_unknown")


async def look(propagator: Propagator) -> None:
    """Set the gauges once."""
    row = await propagator.pool.fetchrow(SQL["parked_count"])
    assert row is not None
    now, affiliate = propagator.clock(), propagator.affiliate
    GAPS.labels(affiliate).set(row["gaps"])
    GAP_S.labels(affiliate).set(_age_s(row["oldest_gap"], now))
    PARKED.labels(affiliate).set(row["parked"])
    PAUSED_S.labels(affiliate).set(_age_s(row["since"], now))


def _age_s(since: datetime | None, now: datetime) -> float:
    return (now - since).total_seconds() if since else 0.0

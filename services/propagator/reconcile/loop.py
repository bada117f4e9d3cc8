"""The continuous cycle inside an affiliate's propagator process: find, say, repair; what is away can wait."""

import asyncio
import contextlib
import random
from datetime import timedelta
from typing import Final

import aiohttp
import structlog
from prometheus_client import Gauge

from services.propagator.handlers import Propagator, UnreadableError
from services.propagator.keys import KeyServiceError
from services.propagator.reconcile.ledger import Ledger, LedgerError
from services.propagator.reconcile.rounds import Reconciler
from services.runtime.postgres import DATABASE_ERRORS
from services.runtime.settings import Settings

REPAIR_MAX: Final = 1000
"""More drift than this is no accident of single rows: it is said, and a person decides (`reconcile --repair`)."""

_PASSING: Final = (*DATABASE_ERRORS, LedgerError, KeyServiceError, UnreadableError, aiohttp.ClientError)
INTERVAL = Gauge("dongui_reconcile_interval_seconds", "How often a cycle is to run; 0 = never", ["affiliate"])
log = structlog.get_logger("reconcile")


async def run(settings: Settings, propagator: Propagator, token: str, stop: asyncio.Event) -> None:
    """Run a cycle every `reconcile_interval_s` seconds until `stop`; 0 is never."""
    INTERVAL.labels(propagator.affiliate).set(settings.reconcile_interval_s)
    if not settings.reconcile_interval_s:
        await stop.wait()
        return
    assert settings.consent_url
    async with aiohttp.ClientSession() as session:
        ledger = Ledger(session, settings.consent_url, propagator.affiliate, token)
        grace = timedelta(seconds=settings.reconcile_grace_s)
        reconciler = Reconciler(propagator, ledger, grace, repair_max=REPAIR_MAX, strangers=False)
        while not await _stopped(stop, settings.reconcile_interval_s * random.uniform(0.9, 1.0)):  # noqa: S311
            try:
                await reconciler.cycle(repair=settings.reconcile_repair)
            except _PASSING as error:
                code = getattr(error, "code", None)
                log.warning(
                    "reconcile_put_off", error=type(error).__name__, code=code if isinstance(code, str) else None
                )


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()

"""Every hour: unused accounts (2.2), checks and reports (3.3, 4.3), word of changed processors (4) and notices (12).

And correction notices that nobody answered (5.7)."""

import asyncio
import contextlib
from datetime import datetime
from typing import Final

import structlog

from services.consent import retained
from services.consent.corrections import escalate
from services.consent.decisions import reconsent
from services.consent.dormancy.scan import scan
from services.consent.handlers import Consent
from services.consent.registers import investigations, processors
from services.policy.investigations import half_of
from services.runtime.postgres import DATABASE_ERRORS

EVERY_S: Final = 3600.0
log = structlog.get_logger("upkeep")


async def run(consent: Consent, stop: asyncio.Event) -> None:
    """Look at once and then every hour until `stop`; a database that is away is asked again next time."""
    while not stop.is_set():
        try:
            await look(consent, consent.clock())
        except DATABASE_ERRORS as error:
            log.warning("upkeep_put_off", error=type(error).__name__)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), EVERY_S)


async def look(consent: Consent, at: datetime) -> None:
    """Do all of it once, as of `at`. Several processes may: each step is repeatable."""
    await scan(consent, at)
    while await _destroyed(consent, at):
        consent.nudge()
    async with consent.pool.acquire() as connection, connection.transaction():
        await processors.open_checks(consent, connection, at)
        await investigations.open_report(connection, half_of(at))
        await processors.detect_changes(consent, connection, at)
    while await _told(consent, at):
        consent.nudge()
    await reconsent.tell(consent, at)
    await escalate.look(consent, at)


async def _destroyed(consent: Consent, at: datetime) -> int:
    async with consent.pool.acquire() as connection, connection.transaction():
        return await retained.destroy_expired(connection, at)


async def _told(consent: Consent, at: datetime) -> bool:
    async with consent.pool.acquire() as connection, connection.transaction():
        return await processors.tell_members(connection, at)

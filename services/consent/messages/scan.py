"""What the passing of time makes due: two-year checks, notices of source, yearly notices of use. Run every minute.

Running it again, or in two processes at once, queues nothing twice: each message has its dedupe key.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any, Final

import asyncpg
import structlog

from services.consent.handlers import Consent
from services.consent.messages import model, sender
from services.consent.messages.queue import queue
from services.consent.messages.use import Use, yearly_use
from services.consent.store import SQL
from services.policy.messages import load
from services.runtime.clock import KST
from services.runtime.postgres import DATABASE_ERRORS, Connection

PERIOD_S: Final = 60.0
PAGE: Final = 200
FIRST_REF: Final = "00000000-0000-0000-0000-000000000000"
log = structlog.get_logger("messages")


async def run(consent: Consent, stop: asyncio.Event) -> None:
    """Look every minute until `stop`; a database that is away is asked again in a minute."""
    stopping = asyncio.ensure_future(stop.wait())
    counted_on: date | None = None
    large: list[str] = []
    try:
        while not stop.is_set():
            try:
                now = consent.clock()
                if counted_on != (today := now.astimezone(KST).date()):
                    large, counted_on = await owing(consent), today  # once a day: it counts everybody
                await due(consent, now, large)
                await sender.measure(consent)
            except DATABASE_ERRORS as error:
                log.warning("messages_scan_failed", error=type(error).__name__)
            await asyncio.wait({stopping}, timeout=PERIOD_S)
    finally:
        stopping.cancel()


async def due(consent: Consent, now: datetime, large: Iterable[str] | None = None) -> int:
    """Queue all that is due at `now`; return how many messages that were.

    `large` are the companies that owe notices of source and use; by default those that `owing` finds.
    """
    companies = await owing(consent) if large is None else list(large)
    found = await _reconfirmations(consent, now)
    for company in companies:
        found += await _sources(consent, company, now) if company != load().operator else 0
        found += await _uses(consent, company, now)
    return found


async def owing(consent: Consent) -> list[str]:
    """Return the companies that owe notices of source and use (law.md F5, F6): by the persons they hold here, too."""
    held = {row["recipient"]: row["persons"] for row in await consent.pool.fetch(SQL["message_persons_held"])}
    messages = load()
    return [c.id for c in messages.companies.values() if c.owes_notices(messages.limits, held.get(c.id, 0))]


@dataclass(frozen=True)
class _Check:
    """The consents of one member to one company, of one day and period, that one message asks about."""

    ref: str
    sender: str
    given_at: datetime
    period: int
    channels: tuple[str, ...]
    covers: tuple[tuple[int, int], ...]
    """(consent_id, period): of missed periods the message covers each"""

    @property
    def day(self) -> date:
        return self.given_at.astimezone(KST).date()


async def _reconfirmations(consent: Consent, now: datetime) -> int:
    """A page is whole members, so that consents of one day are asked about in one message."""
    found, after = 0, FIRST_REF
    while True:
        rows = await consent.pool.fetch(SQL["message_reconfirmations"], now, load().warn_days + 1, after, PAGE)
        if not rows:
            return found
        for check in _checks(rows, now):
            async with consent.pool.acquire() as tx, tx.transaction():
                found += await _ask(tx, check, now)
        after = rows[-1]["member_ref"]


def _checks(rows: Iterable[asyncpg.Record], now: datetime) -> list[_Check]:
    today = now.astimezone(KST).date()
    asked = [
        (row["member_ref"], row["sender"], row["given_at"].astimezone(KST).date(), period, row)
        for row in rows
        if (period := model.period_to_ask(row["given_at"], row["covered"], today, load().warn_days)) is not None
    ]
    groups = groupby(sorted(asked, key=lambda a: a[:4]), key=lambda a: a[:4])
    return [_check(ref, company, period, [a[4] for a in group]) for (ref, company, _, period), group in groups]


def _check(ref: str, company: str, period: int, rows: list[asyncpg.Record]) -> _Check:
    channels = tuple(sorted({row["channel"] for row in rows}))
    covers = tuple((row["consent_id"], p) for row in rows for p in range(row["covered"] + 1, period + 1))
    return _Check(ref, company, rows[0]["given_at"], period, channels, covers)


async def _ask(tx: Connection, check: _Check, now: datetime) -> int:
    data = {"sender": check.sender, "consented_on": check.day, "channels": check.channels}
    key = f"marketing_reconfirm:{min(check.covers)[0]}:{check.period}"
    begins = model.anchor(check.given_at, check.period)
    message_id = await queue(tx, "marketing_reconfirm", check.ref, data, key, now, duty_from=begins)
    if message_id is None:
        return 0
    await tx.executemany(SQL["message_reconfirmed"], [(*covered, message_id) for covered in check.covers])
    return 1


async def _sources(consent: Consent, company: str, now: datetime) -> int:
    """The first provision is told at once, later ones together after 60 days: always within three months of each."""
    found = 0
    for row in await consent.pool.fetch(SQL["message_sources"], company, now, PAGE):
        purposes = _purposes(consent, row["purposes"])
        days = {"from_on": row["first_at"], "until_on": row["last_at"]}
        data = {"sender": company, **days, "items": tuple(row["items"]), "purposes": purposes}
        key = f"source_notice:{row['member_ref']}:{company}:{row['first_at'].isoformat()}"
        async with consent.pool.acquire() as tx, tx.transaction():
            told = await queue(tx, "source_notice", row["member_ref"], data, key, now, duty_from=row["first_at"])
        found += told is not None
    return found


def _purposes(consent: Consent, codes: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({code for code in codes if code in consent.rules.purposes}))


async def _uses(consent: Consent, company: str, now: datetime) -> int:
    found = 0
    for row in await consent.pool.fetch(SQL["message_yearly_uses"], company, now, PAGE):
        use = yearly_use(company, row["ledger"], operator=company == load().operator, silent=load().silent_bases)
        key = f"yearly_use_notice:{row['member_ref']}:{company}:{row['year']}"
        async with consent.pool.acquire() as tx, tx.transaction():
            told = await queue(
                tx, "yearly_use_notice", row["member_ref"], _use_data(consent, company, use, row), key, now
            )
        found += told is not None
    return found


def _use_data(consent: Consent, company: str, use: Use, row: asyncpg.Record) -> dict[str, Any]:
    return {
        "sender": company,
        "from_on": row["since"],
        "until_on": row["until"],
        "items": tuple(sorted(use.items)),
        "purposes": _purposes(consent, use.purposes),
        "recipients": tuple(sorted(use.recipients)),
    }

"""Silence becomes a duty of staff before its last day (5.7): looked at every hour, for notices without an answer."""

from datetime import datetime, timedelta
from typing import Final

import asyncpg

from services.consent import duties
from services.consent.corrections.answers import ANSWER_DUTY
from services.consent.handlers import Consent
from services.consent.store import SQL
from services.policy.duties import all_duties
from services.runtime.clock import KST

PAGE: Final = 500


async def look(consent: Consent, at: datetime) -> int:
    """Open the duty of every notice whose warning day (KST) is here and that nobody answered; return how many."""
    opened, after = 0, 0
    while True:
        rows = await consent.pool.fetch(SQL["list_unanswered"], after, _not_before(at), PAGE)
        if not rows:
            return opened
        opened += await _open(consent, [row for row in rows if _due(row["created_at"], at)])
        after = rows[-1]["position"]


async def _open(consent: Consent, rows: list[asyncpg.Record]) -> int:
    async with consent.pool.acquire() as connection, connection.transaction():
        for row in rows:
            since, ref = row["created_at"], row["member_ref"]
            await duties.open_duty(connection, ANSWER_DUTY, row["notice_id"], since, member_ref=ref)
    return len(rows)


def _due(created_at: datetime, at: datetime) -> bool:
    return at.astimezone(KST).date() >= all_duties()[ANSWER_DUTY].warn_on(created_at)


def _not_before(at: datetime) -> datetime:
    """A period of days counts from the next midnight at the latest: nothing younger can be due."""
    duty = all_duties()[ANSWER_DUTY]
    return at - timedelta(max(0, (duty.days or 0) - duty.warn_days - 1))

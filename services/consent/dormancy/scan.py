"""Looks for accounts that nobody used: tells them, releases those used again, lets leave those that stayed unused."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import asyncpg
import structlog
from prometheus_client import Counter

from services.consent.dormancy import account
from services.consent.handlers import Consent
from services.consent.store import SQL
from services.keyring.keyring import KeyDestroyedError, KeyUnknownError
from services.policy.dormancy import Promise, Verdict, all_promises, in_force, verdict
from services.runtime.postgres import Connection
from services.runtime.problem import Problem

PAGE: Final = 500
ACTED = Counter("dongui_dormancy_acted", "Accounts told, released or left (clause 2.2)", ["verdict"])
_SHORTEST_MONTH: Final = 28
_PASSING: Final = (asyncpg.PostgresError, Problem, KeyDestroyedError, KeyUnknownError)
log = structlog.get_logger("dormancy")


async def scan(consent: Consent, at: datetime, promises: Sequence[Promise] | None = None) -> dict[Verdict, int]:
    """Do what the promise in force at `at` makes due, each account in a transaction of its own; return how many.

    One account that cannot be settled now is left for the next scan and stops no other. Repeating changes nothing.
    """
    promise = in_force(all_promises() if promises is None else promises, at)
    counts: dict[Verdict, int] = {}
    async for ref in _candidates(consent, promise, at):
        try:
            done = await _settle(consent, ref, promise, at)
        except _PASSING as error:
            log.warning("account_not_settled", member_ref=ref, error=type(error).__name__)
            continue
        counts[done] = counts.get(done, 0) + 1
        if done != "wait":
            ACTED.labels(done).inc()
    consent.nudge()
    return counts


async def _candidates(consent: Consent, promise: Promise | None, at: datetime) -> AsyncIterator[str]:
    """Yield accounts that may be due; with the promise off, only those with a notice to take back."""
    before = None
    if promise is not None and promise.enabled:
        before = at - timedelta(_SHORTEST_MONTH * promise.months - promise.notice_days)
    after: str | None = None
    while rows := await consent.pool.fetch(SQL["dormancy_candidates"], before, after, PAGE):
        for row in rows:
            yield row["member_ref"]
        after = rows[-1]["member_ref"]


async def _settle(consent: Consent, ref: str, promise: Promise | None, at: datetime) -> Verdict:
    """Look again under lock, then act: a log-in that came first wins."""
    async with consent.pool.acquire() as connection, connection.transaction():
        locked = await account.lock(connection, ref)
        owner = locked.owner
        if owner is None or owner.status != "active":
            return "wait"
        due = verdict(promise, locked.used_at, owner.notified_at, at)
        await _act(consent, connection, locked, due, promise, at)
        return due


async def _act(
    consent: Consent, tx: Connection, locked: account.Account, due: Verdict, promise: Promise | None, at: datetime
) -> None:
    if due == "notify":
        assert promise is not None
        await account.notify(tx, locked, promise, at)
    elif due == "release":
        await account.release(consent, tx, locked, account.SYSTEM, at)
    elif due == "leave":
        await account.leave(consent, tx, locked, at)

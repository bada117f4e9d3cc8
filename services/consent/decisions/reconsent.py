"""Whom to ask again because the notice in force tells something else than the one their consents cite (12, PIPA 15(2)).

Staff see how many and who; each is told once per version (`tell`, run by the hour's upkeep), and asked by the company's
own pages: nothing is assumed meanwhile, the old consent covers the old scope.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import asyncpg

from services.consent.handlers import Consent
from services.consent.messages.queue import queue
from services.consent.store import SQL
from services.policy.scope import Cited, Reconsent, outdated, reconsents
from services.runtime.postgres import Connection

PAGE: Final = 200
FIRST: Final = "00000000-0000-0000-0000-000000000000"
KIND: Final = "reconsent"


async def overview(consent: Consent, after: str | None) -> dict[str, Any]:
    """Return `{"notice_version", "counts", "members", "next"}`: how many to ask for what, and who, 200 a page.

    `counts` are of consents given under an older notice; recipients that came later are named per member.
    """
    at = consent.clock()
    versions = sorted(outdated(consent.rules, at))
    async with consent.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        counts = await connection.fetch(SQL["reconsent_counts"], versions) if versions else []
        rows = await connection.fetch(SQL["reconsent_members"], versions, after or FIRST, PAGE) if versions else []
    members = [{"member_ref": row["member_ref"], "reconsents": _asked(consent, row, at)} for row in rows]
    return {
        "notice_version": consent.rules.current_notice(at),
        "counts": [told for row in counts if (told := _count(consent, row, at))],
        "members": [m for m in members if m["reconsents"]],
        "next": rows[-1]["member_ref"] if len(rows) == PAGE else None,
    }


async def tell(consent: Consent, at: datetime) -> int:
    """Queue one message per active member and notice version; return how many. Repeating it queues nothing twice."""
    versions, found, after = sorted(outdated(consent.rules, at)), 0, FIRST
    while versions:
        async with consent.pool.acquire() as connection, connection.transaction():
            told = f":{consent.rules.current_notice(at)}"
            rows = await connection.fetch(SQL["reconsent_untold"], versions, after, PAGE, told)
            for row in rows:
                found += await _tell(consent, connection, row, at)
        if len(rows) < PAGE:
            break
        after = rows[-1]["member_ref"]
    return found


async def _tell(consent: Consent, tx: Connection, row: asyncpg.Record, at: datetime) -> int:
    asked = reconsents(consent.rules, _cited(row), at)
    if not asked:
        return 0
    version = consent.rules.current_notice(at)
    notice = consent.rules.notices[version]
    data = {"version": version, "since": notice.effective_from, "consents": tuple({a.purpose for a in asked})}
    return int(await queue(tx, KIND, row["member_ref"], data, f"{KIND}:{row['member_ref']}:{version}", at) is not None)


def shown(again: Reconsent) -> dict[str, Any]:
    """Return one consent to ask for again as callers see it."""
    party = {"sharing": "recipient", "marketing": "sender"}.get(again.purpose)
    told = {"purpose": again.purpose, "given_under": again.given_under, "notice_version": again.now}
    named = {party: again.party} if party else {}
    return {**told, **named, "changed": list(again.changed)}


def _asked(consent: Consent, row: asyncpg.Record, at: datetime) -> list[dict[str, Any]]:
    return [shown(again) for again in reconsents(consent.rules, _cited(row), at)]


def _cited(row: asyncpg.Record) -> Iterable[Cited]:
    return [Cited(c["purpose"], c["party"], c["notice_version"]) for c in row["consents"]]


def _count(consent: Consent, row: asyncpg.Record, at: datetime) -> dict[str, Any] | None:
    """A group of consents alike; None where the new notice says nothing new to them."""
    cited = Cited(row["purpose"], row["party"], row["notice_version"])
    again = next((a for a in reconsents(consent.rules, [cited], at) if a.given_under is not None), None)
    return {**shown(again), "members": row["members"]} if again else None

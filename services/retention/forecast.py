"""The outlook of destructions in one answer for a plot: what is kept here, and what the consent service still keeps.

The consent service is asked with the caller's own token: whoever may not see its schedule there does not see it here.
"""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any, Final

import aiohttp

from services.policy.outlook import DAYS_MAX, outlook
from services.retention import readings
from services.retention.readings import Vault
from services.runtime.problem import Problem
from services.runtime.problems import unavailable

TIMEOUT_S: Final = 10.0
SHOWN: Final = ("as_of", "until", "counts", "held", "rules", "series")


async def forecast(vault: Vault, consent_url: str, authorization: str, first: date, last: date) -> dict[str, Any]:
    """Return counts by class and rule and a daily series by class, no record and no member.

    Raises Problem 422 for days that are none, 503 while the consent service does not answer.
    """
    if not first <= last <= first + timedelta(DAYS_MAX):
        ko, en = (
            "as_of와 until을 순서대로, 10년 이내로 지정해 주세요.",
            "Give as_of and until in order, ten years apart at most.",
        )
        raise Problem(422, "days_out_of_range", ko, en, errors=[{"pointer": "/until", "code": "days_out_of_range"}])
    rows = [row async for row in _kept_here(vault, last)]
    rows += [row async for row in _kept_there(consent_url, authorization, last)]
    found = outlook(rows, first, last)
    return {name: found[name] for name in SHOWN}


async def _kept_here(vault: Vault, last: date) -> AsyncIterator[dict[str, Any]]:
    cursor: str | None = ""
    while cursor is not None:
        page = await readings.schedule(vault, last, cursor)
        for row in page["records"]:
            told = {"occurred_at": row["occurred_at"].isoformat(), "destroy_on": row["destroy_on"].isoformat()}
            yield {**row, **told, "record_id": str(row["record_id"]), "place": "retention"}
        cursor = page["next"]


async def _kept_there(url: str, authorization: str, last: date) -> AsyncIterator[dict[str, Any]]:
    cursor: str | None = ""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(headers={"Authorization": authorization}, timeout=timeout) as session:
        while cursor is not None:
            page = await _page(session, url, last, cursor)
            for row in page["records"]:
                yield {"held": False, **row, "place": "consent"}
            cursor = page["next"]


async def _page(session: aiohttp.ClientSession, url: str, last: date, cursor: str) -> dict[str, Any]:
    asked = {"until": last.isoformat(), "cursor": cursor}
    try:
        async with session.get(f"{url.rstrip('/')}/v1/records/schedule", params=asked) as answer:
            answer.raise_for_status()
            found: dict[str, Any] = await answer.json()
    except (aiohttp.ClientError, TimeoutError, ValueError):
        raise unavailable() from None
    return found

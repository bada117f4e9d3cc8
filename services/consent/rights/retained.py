"""What is kept of somebody who left, for that person (clause 7.2, decree 6 of the e-commerce act).

The retention database is another process's: it is asked over HTTP with a token of ours, and records that it was.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx

from services.consent.handlers import Consent
from services.consent.rights import evidence, refusals, store
from services.consent.rights.access import Who
from services.runtime.problem import Problem
from services.runtime.problems import unavailable

TIMEOUT_S: Final = 10.0
OPENED: Final = frozenset({"granted", "partial"})
ReadRetained = Callable[[str, str], Awaitable[dict[str, Any]]]
"""(member_ref, id of the rights request) -> the records with their content."""


async def shown(consent: Consent, read: ReadRetained | None, request_id: str, who: Who) -> dict[str, Any]:
    """Return the retained records of whoever a granted access is about. The identity was established before (5.6).

    Raises Problem 404 for a request the caller may not see, 409 before the grant of an access, 503 while the
    retention process does not answer.
    """
    at = consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction():
        request, row = await store.read(connection, request_id)
        who.check(row)
        if request.type != "access" or request.outcome not in OPENED:
            raise _not_granted() if request.outcome else refusals.not_decided()
        await evidence.record(connection, request, "retained_shown", who, at)
    if read is None:
        raise unavailable()
    found = await read(request.member_ref, request.id)
    consent.nudge()
    return {"id": request.id, "member_ref": request.member_ref, **found}


def reader(url: str, token: str) -> ReadRetained:
    """Return the way to the retention process at `url`; it raises Problem 503 for anything but an answer."""

    async def read(member_ref: str, request_id: str) -> dict[str, Any]:
        asked = {"member_ref": member_ref, "reason": request_id}
        try:
            async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as client:
                headers = {"Authorization": f"Bearer {token}"}
                answer = await client.get("/v1/retention/records", params=asked, headers=headers)
                found: dict[str, Any] = answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            raise unavailable() from None
        return found

    return read


def _not_granted() -> Problem:
    ko, en = "열람이 허용된 열람 요구로만 볼 수 있습니다.", "Only a granted access shows retained records."
    return Problem(409, "access_not_granted", ko, en)

"""Notes an outcome with its entry for the audit log, in one transaction. A letter that was given up stays so."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from schemas.receipts import CODED_VALUE
from services.consent import register
from services.consent.handlers import Consent
from services.consent.store import SQL
from services.runtime.problem import Problem

KIND: Final = "dead_letter"
Outcome = Literal["redriven", "discarded"]


async def outcomes(consent: Consent) -> dict[str, Any]:
    """Return every letter something was done about."""
    return {"outcomes": [dict(row) for row in await consent.pool.fetch(SQL["letter_outcomes"])]}


async def note(consent: Consent, letter_id: str, outcome: Outcome, told: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Note that a letter was sent again, or is given up for a reason. 409 for anything after it was given up."""
    at = consent.clock()
    async with consent.pool.acquire() as tx, tx.transaction():
        before = await tx.fetchrow(SQL["letter_lock"], letter_id)
        if before is not None and before["state"] == "discarded":
            if outcome == "discarded":
                return dict(before)
            raise Problem(409, "letter_discarded", "이미 버린 기록입니다.", "This record was discarded.")
        written = (letter_id, told["topic"], told["code"], outcome, by, told.get("reason"), at)
        row = await tx.fetchrow(SQL["letter_write"], *written)
        assert row is not None
        codes = {"topic": told["topic"], "code": told["code"]} | ({"by": by} if CODED_VALUE.fullmatch(by) else {})
        await register.append(tx, KIND, letter_id, outcome, at, actor="staff", codes=codes)
    consent.nudge()
    return dict(row)

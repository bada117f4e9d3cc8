"""Staff look at a member's values: only officers, only for a coded reason, and never without an entry in the log.

The entry has what 안전성 확보조치 기준 2 and 8 want of an access log: who, when, from where, whose data, what for.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import asyncpg
from pydantic import StringConstraints
from uuid_utils import uuid7

from schemas.receipts import CODED_VALUE, CodedValue
from services.consent import register
from services.consent.bodies import Body
from services.consent.handlers import Consent
from services.consent.refusals import not_found
from services.keyring import derive
from services.runtime.auth import Principal

KIND: Final = "staff_access"
Reason = Literal["rights_request", "inquiry", "investigation", "incident", "internal_audit"]
UNCODED: Final = re.compile(r"[^A-Za-z0-9_.:/+-]")


class RevealBody(Body):
    """POST /v1/members/{ref}/reveals: why, and the case it is for, as a code or a number."""

    reason: Reason
    reference: CodedValue | None = None


class SearchBody(RevealBody):
    """POST /v1/members/searches: a body, for an e-mail belongs in no URL."""

    email: Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=254, pattern=r"\S.*\S.*\S")]


@dataclass(frozen=True)
class Look:
    """One look: who, why, for which case, from where."""

    by: Principal
    reason: str
    reference: str | None

    def codes(self, **more: str) -> dict[str, str]:
        """Return it as the codes of a register entry."""
        case = self.reference
        about = {"reference": case} if case and CODED_VALUE.fullmatch(case) else {}
        return {**who(self.by), "reason": self.reason, **about, **more}


def who(by: Principal) -> dict[str, str]:
    """Return who looks, and from where if it is said, as codes of a register entry."""
    place = by.access_point
    known = {"access_point": place} if place and CODED_VALUE.fullmatch(place) else {}
    return {"by": UNCODED.sub("_", by.sub)[:100], **known}


async def revealed(consent: Consent, ref: str, look: Look) -> None:
    """Write down that the values of a member are shown; they may be shown once this has returned. 404 for nobody."""
    async with consent.pool.acquire() as tx, tx.transaction():
        if await tx.fetchval("SELECT 1 FROM member WHERE member_ref = $1", ref) is None:
            raise not_found()
        codes = look.codes(work="reveal")
        await register.append(tx, KIND, str(uuid7()), "revealed", consent.clock(), **_staff(ref, codes))
    consent.nudge()


async def found(consent: Consent, email: str, look: Look) -> str:
    """Return the reference of whoever signs in with this e-mail, and write the search down; 404 for nobody.

    A search that finds nobody is written down too, and names nobody.
    """
    async with consent.pool.acquire() as tx, tx.transaction():
        ref = await _reference(tx, derive.email_index(consent.index_key, email))
        codes = look.codes(work="search")
        state = "found" if ref else "not_found"
        await register.append(tx, KIND, str(uuid7()), state, consent.clock(), **_staff(ref, codes))
    consent.nudge()
    if ref is None:
        raise not_found()
    return ref


async def _reference(tx: Any, index: bytes) -> str | None:
    row: asyncpg.Record | None = await tx.fetchrow("SELECT member_ref FROM member WHERE email_index = $1", index)
    return str(row["member_ref"]) if row else None


def _staff(ref: str | None, codes: dict[str, str]) -> dict[str, Any]:
    return {"actor": "staff", "member_ref": ref, "codes": codes}

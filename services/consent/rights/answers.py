"""The answer of a decided request, read from one instant of the database; that it was shown is recorded."""

from typing import Any

from services.consent.handlers import Consent
from services.consent.rights import answer, evidence, refusals, store
from services.consent.rights.access import Who
from services.consent.rights.answer import Found
from services.consent.rights.handlers import result_of
from services.consent.store import SQL


async def shown(consent: Consent, request_id: str, who: Who, form: str) -> dict[str, Any]:
    """Return the answer's JSON blocks. Problem 404 for one the caller may not see, 409 before the decision.

    `form` (json, html) goes into the register entry: who looked, when and how, is evidence too (safeguards notice 8).
    """
    at = consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        request, row = await store.read(connection, request_id)
        who.check(row)
        if request.outcome is None:
            raise refusals.not_decided()
        member = await store.member(connection, request.member_ref)
        disclosures = await connection.fetch(SQL["list_disclosures"], request.member_ref)
        consents = await connection.fetch(SQL["rights_consents"], request.member_ref)
        found = Found(member, [dict(r) for r in disclosures], [dict(r) for r in consents], at)
        document = answer.document(consent.rules, request, result_of(request, row), found)
        await evidence.record(connection, request, "answer_shown", who, at, form=form)
    consent.nudge()
    return document

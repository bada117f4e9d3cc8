"""The answer of a request: made and sealed in the transaction of the decision, read ever after as it was.

Sealed under the member's data key, so that erasure ends it with everything else; that it was shown is recorded.
"""

from datetime import datetime
from typing import Any

import orjson

from services.consent import sealing
from services.consent.handlers import Consent
from services.consent.rights import answer, evidence, html, refusals, store
from services.consent.rights.access import Who
from services.consent.rights.answer import Found
from services.consent.rights.model import Request
from services.consent.store import SQL
from services.keyring.keyring import KeyDestroyedError, KeyUnknownError
from services.runtime.postgres import Connection

LABEL = "rights-answer"


async def keep(consent: Consent, tx: Connection, request: Request, at: datetime) -> None:
    """Seal the answer of a request that is being decided, before its effect: as JSON, and as the page it prints.

    Of a member who is erased there is no key and no value: that answer is read from what is left, which is final.
    """
    data_key = await _key(consent, request)
    if data_key is None:
        return
    document = await _made(consent, tx, request, at)
    whole = orjson.dumps({"document": document, "page": html.page(document)})
    sealed = sealing.seal(data_key, request.member_ref, f"{LABEL}/{request.id}", whole)
    await tx.execute(SQL["rights_keep_answer"], request.id, sealed)


async def shown(consent: Consent, request_id: str, who: Who, form: str) -> dict[str, Any]:
    """Return the answer as it was at the decision: `{"document", "page"}`.

    `form` (json, html) goes into the register entry: who looked, when and how, is evidence too (safeguards notice 8).
    Raises Problem 404 for one the caller may not see, 409 before the decision, 410 for an access of an erased member.
    """
    at = consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        request, row = await store.read(connection, request_id)
        who.check(row)
        if request.outcome is None:
            raise refusals.not_decided()
        found = await _kept(consent, connection, request)
        await evidence.record(connection, request, "answer_shown", who, at, form=form)
    consent.nudge()
    return found


async def _kept(consent: Consent, tx: Connection, request: Request) -> dict[str, Any]:
    sealed = await tx.fetchval(SQL["rights_kept_answer"], request.id)
    data_key = await _key(consent, request) if sealed is not None else None
    if data_key is not None:
        plain = sealing.unseal(data_key, request.member_ref, f"{LABEL}/{request.id}", sealed)
        found: dict[str, Any] = orjson.loads(plain)
        return found
    if sealed is not None and request.type == "access":
        raise refusals.destroyed()
    document = await _made(consent, tx, request, request.decided_at or consent.clock())
    return {"document": document, "page": html.page(document)}


async def _key(consent: Consent, request: Request) -> bytes | None:
    try:
        return await consent.keyring.data_key(request.member_ref)
    except (KeyDestroyedError, KeyUnknownError):
        return None


async def _made(consent: Consent, tx: Connection, request: Request, at: datetime) -> dict[str, Any]:
    member = await store.member(tx, request.member_ref)
    disclosures = await tx.fetch(SQL["list_disclosures"], request.member_ref)
    consents = await tx.fetch(SQL["rights_consents"], request.member_ref)
    found = Found(member, [dict(r) for r in disclosures], [dict(r) for r in consents], at)
    return answer.document(consent.rules, request, found)

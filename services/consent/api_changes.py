"""Routes of what follows a change: its progress, the disclosure ledger, lag."""

import uuid
from typing import Any

from fastapi import APIRouter, Response

from services.consent import changes, disclosures, duties
from services.consent.access import AFFILIATE_DESK, READERS, Ask, Write, send
from services.consent.bodies import DisclosureBody
from services.runtime.fields import Cursor
from services.runtime.problem import Problem

router = APIRouter(tags=["changes"])


@router.get("/v1/changes/{change_id}")
async def read_change(ask: Ask, change_id: str) -> dict[str, Any]:
    """Say where a change is now, per affiliate and third party."""
    principal = ask.require("service", "member", *READERS)
    member_ref, shown = await changes.shown(ask.consent, _uuid(change_id, changes.change_not_found()))
    if principal.has("service", *READERS) or principal.sub == member_ref:
        return shown
    raise changes.change_not_found()


@router.get("/v1/members/{ref}/changes")
async def list_changes(ask: Ask, ref: str, cursor: Cursor = 0) -> dict[str, Any]:
    """Return the changes of a member in order, each with its recipients."""
    return await changes.of_member(ask.consent, ask.member(ref, staff=True), cursor)


@router.get("/v1/status")
async def status(ask: Ask) -> dict[str, Any]:
    """Return what is not answered yet, per recipient, in changes and seconds, and how many duties are open.

    An affiliate sees its own lag, and no duties.
    """
    principal = ask.require("service", "affiliate", AFFILIATE_DESK, *READERS)
    found = await changes.lag(ask.consent)
    if not principal.has("service", *READERS):
        return {"recipients": [one for one in found if one["recipient"] == principal.sub]}
    return {"recipients": found, "duties": await duties.census(ask.consent)}


@router.get("/v1/members/{ref}/disclosures")
async def list_disclosures(ask: Ask, ref: str) -> dict[str, Any]:
    """Say who was given which items, when and on what basis."""
    return await disclosures.listed(ask.consent, ask.member(ref, staff=True))


@router.post("/v1/members/{ref}/disclosures", status_code=201)
async def disclose(
    ask: Write,
    ref: str,
    body: DisclosureBody,
    response: Response,
) -> dict[str, Any]:
    """Record a disclosure to a third party."""
    ask.require("service")
    canonical = ask.member(ref)
    key = ask.key(body.model_dump(mode="json"), required=True)
    return send(response, await disclosures.disclose(ask.consent, canonical, body, key))


def _uuid(text: str, otherwise: Problem) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise otherwise from error

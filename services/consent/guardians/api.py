"""Routes of the guardian of a member under 14."""

from typing import Any

from fastapi import APIRouter, Response

from services.consent.access import Write, send
from services.consent.guardians import handlers
from services.consent.guardians.bodies import GuardianConfirmBody, NamedGuardianBody
from services.policy.guardians import methods

router = APIRouter(tags=["guardians"])


@router.post("/v1/members/{ref}/guardian", status_code=201)
async def name_guardian(ask: Write, ref: str, body: NamedGuardianBody, response: Response) -> dict[str, Any]:
    """Say who the guardian is. Unconfirmed it is destroyed on `due_on` (five days, Civil Act)."""
    canonical = ask.member(ref)
    key = ask.key(body.model_dump(mode="json"), required=True)
    return send(response, await handlers.name_guardian(ask.consent, canonical, body.guardian, ask.caller(), key))


@router.post("/v1/members/{ref}/guardian/confirm")
async def confirm(ask: Write, ref: str, body: GuardianConfirmBody, response: Response) -> dict[str, Any]:
    """Record the guardian's verified consent: the member becomes active. By the service or staff, never the child."""
    ask.require("service", "compliance", "cpo")
    canonical = ask.member(ref, staff=True)
    key = ask.key(body.model_dump(mode="json"), required=True)
    return send(response, await handlers.confirm(ask.consent, canonical, body, ask.caller(), key))


@router.get("/v1/guardian-methods")
async def list_methods() -> dict[str, Any]:
    """Return the ways in which a guardian's consent may be verified (decree 17-2)."""
    return {"methods": [method.model_dump() for method in methods().values()]}

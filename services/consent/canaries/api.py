"""Routes of the canaries: each affiliate's process sends its own; who runs the system sees how far all are."""

from typing import Any

from fastapi import APIRouter

from services.consent.access import READERS, Ask
from services.consent.canaries import handlers
from services.consent.refusals import forbidden

router = APIRouter(tags=["canaries"])


@router.put("/v1/affiliates/{affiliate}/canary")
async def send(ask: Ask, affiliate: str) -> dict[str, Any]:
    """Send the affiliate's canary unless the last one is out; again, it changes nothing before that is back."""
    principal = ask.require("affiliate", "service", "sre")
    if not principal.has("service", "sre") and principal.sub != affiliate:
        raise forbidden()
    return (await handlers.send(ask.consent, affiliate)).shown()


@router.get("/v1/canaries")
async def list_canaries(ask: Ask) -> dict[str, Any]:
    """Return each affiliate's canary: when it was sent, and how long the last one took that came back."""
    ask.require("service", *READERS)
    return {"canaries": [one.shown() for one in await handlers.states(ask.consent)]}

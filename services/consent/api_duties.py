"""Routes of open duties: what must be done by when, for staff."""

from typing import Any

from fastapi import APIRouter

from services.consent import duties
from services.consent.access import OFFICERS, READERS, Ask
from services.runtime.fields import Cursor

router = APIRouter(tags=["duties"])


@router.get("/v1/duties")
async def list_duties(ask: Ask, late: bool = False, cursor: Cursor = 0) -> dict[str, Any]:
    """Return open duties with their last day (KST), days left and state; `late=true` only those that are over."""
    principal = ask.require("service", *READERS)
    return await duties.listed(ask.consent, late=late, after=cursor, restricted=principal.has(*OFFICERS))

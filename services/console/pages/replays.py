"""Replay plans: what would be applied again and why, and who approved it. Empty where the API has no plans."""

from typing import Any

from fastapi import APIRouter, Response

from services.console.apis import RefusedError
from services.console.desk import Somebody
from services.console.model import PAGES

router = APIRouter()


@router.get("/replays")
async def replays(visit: Somebody) -> Response:
    """Show the plans."""
    visit.require(*PAGES["replays"])
    found: list[dict[str, Any]] = []
    offered = True
    try:
        found = await visit.api.listed("consent", "/v1/replays", "replays")
    except RefusedError as error:
        if error.status != 404:
            raise
        offered = False
    return visit.page("replays.html", plans=found, offered=offered)

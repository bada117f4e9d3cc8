"""Replay plans: what would be applied again and why, who planned it, who approved it; approval by a second person."""

import uuid
from typing import Any, Final

from fastapi import APIRouter, Response

from services.console.apis import RefusedError
from services.console.desk import Sent, Somebody, Visit, to
from services.console.model import OFFICERS, PAGES

router = APIRouter()
VERBS: Final = ("approve", "cancel")


@router.get("/replays")
async def replays(visit: Somebody) -> Response:
    """Show the plans, where the consent service keeps any."""
    visit.require(*PAGES["replays"])
    return visit.page("replays.html", **await _plans(visit))


async def _plans(visit: Visit) -> dict[str, Any]:
    try:
        return {"plans": (await visit.api.get("consent", "/v1/replays"))["replays"], "offered": True}
    except RefusedError as error:
        if error.status not in {403, 404}:
            raise
        return {"plans": [], "offered": False}


@router.post("/replays/{replay_id}/{verb}")
async def decide(visit: Somebody, replay_id: uuid.UUID, verb: str, form: Sent) -> Response:
    """Approve the plan that was read (by its hash) or cancel it; the API knows who may."""
    visit.require("sre", *OFFICERS)
    body = {"sha256": form.text("sha256", 64)} if verb == "approve" else None
    if verb in VERBS:
        try:
            await visit.api.post("consent", f"/v1/replays/{replay_id}/{verb}", body)
        except RefusedError as error:
            return visit.refused("replays.html", error, **await _plans(visit))
    return to("/replays")

"""What was told to whom: correction notices to third parties (5.7) and messages to members, with their tries."""

from typing import Any

from fastapi import APIRouter, Response

from services.console.desk import Somebody, Visit
from services.console.model import STAFF

router = APIRouter()
STATES = ("queued", "sent", "dropped", "failed")
NOTICES = ("all", "open")


@router.get("/deliveries")
async def deliveries(
    visit: Somebody, state: str = "", notices: str = "all", after: str = "", cursor: str = ""
) -> Response:
    """Show a page of notices and one of messages, the newest first; of notices without an answer the oldest first."""
    visit.require(*STAFF)
    which = notices if notices in NOTICES else NOTICES[0]
    told = await _notices(visit, which, after)
    wanted = state if state in STATES else ""
    sent = await visit.api.get("consent", "/v1/messages", state=wanted, order="newest", cursor=cursor)
    return visit.page(
        "deliveries.html",
        which=which,
        kinds=NOTICES,
        notices=told["notices"],
        notices_after=told["next"],
        open_notices=told["unanswered"],
        messages=sent["messages"],
        messages_after=sent["next"],
        state=wanted,
        states=STATES,
        now=visit.desk.gate.clock(),
    )


async def _notices(visit: Visit, which: str, after: str) -> dict[str, Any]:
    asked = {"unanswered": "true"} if which == "open" else {"order": "newest"}
    found: dict[str, Any] = await visit.api.get("consent", "/v1/notices", **asked, after=after)
    return found

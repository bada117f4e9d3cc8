"""What was told to whom: correction notices to third parties (5.7) and messages to members, with their tries."""

from fastapi import APIRouter, Response

from services.console.desk import Somebody
from services.console.model import STAFF

router = APIRouter()
STATES = ("queued", "sent", "dropped", "failed")
SHOWN = 100


@router.get("/deliveries")
async def deliveries(visit: Somebody, state: str = "") -> Response:
    """Show notices and messages, the newest first."""
    visit.require(*STAFF)
    notices = await _notices(visit)
    wanted = state if state in STATES else None
    messages = await visit.api.listed("consent", "/v1/messages", "messages", state=wanted)
    return visit.page(
        "deliveries.html",
        notices=notices[::-1][:SHOWN],
        open_notices=sum(1 for n in notices if n["acknowledged_at"] is None),
        messages=messages[::-1][:SHOWN],
        state=state,
        states=STATES,
        now=visit.desk.gate.clock(),
    )


async def _notices(visit: Somebody) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    after: object = 0
    while after is not None and len(rows) < 20 * SHOWN:
        page = await visit.api.get("consent", "/v1/notices", after=after)
        rows += page["notices"]
        after = page["next"]
    return rows

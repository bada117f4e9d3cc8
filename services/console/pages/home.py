"""The first page: what must be done by when, whose withdrawal is not everywhere yet, how far behind everybody is."""

from typing import Any

from fastapi import APIRouter, Response

from services.console import words
from services.console.desk import Somebody, Visit
from services.console.model import STAFF
from services.policy.duties import all_duties

router = APIRouter()
DUTIES_SHOWN = 50


@router.get("/")
async def home(visit: Somebody) -> Response:
    """Show the page."""
    if visit.known.role == "affiliate":
        return visit.page("home_affiliate.html", **await _status(visit))
    return visit.page("home.html", **await _status(visit), **await _duties(visit))


@router.get("/parts/status")
async def status(visit: Somebody) -> Response:
    """Return the part of the page that follows the system by itself."""
    return visit.page("parts/status.html", **await _status(visit))


async def _status(visit: Visit) -> dict[str, Any]:
    behind = (await visit.api.get("consent", "/v1/status"))["recipients"]
    now = visit.desk.gate.clock()
    oldest = sorted((r for r in behind if r["oldest_withdrawal_at"]), key=lambda r: r["oldest_withdrawal_at"])
    waits = words.seconds_between(oldest[0]["oldest_withdrawal_at"], now) if oldest else None
    return {"behind": behind, "oldest": oldest[0] if oldest else None, "waits": waits, "now": now}


async def _duties(visit: Visit) -> dict[str, Any]:
    if visit.known.role not in STAFF:
        return {"duties": [], "counts": {}, "kinds": all_duties()}
    found = await visit.api.listed("consent", "/v1/duties", "duties")
    found.sort(key=lambda duty: (duty["due_on"], duty["opened_at"]))
    counts = {state: sum(1 for d in found if d["state"] == state) for state in ("late", "warning", "open")}
    return {"duties": found[:DUTIES_SHOWN], "counts": counts, "kinds": all_duties()}

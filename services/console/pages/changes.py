"""Where is this member's change now: by a change's id or a member's reference, per recipient, as it goes on."""

import uuid
from typing import Any

from fastapi import APIRouter, Response

from services.console import words
from services.console.apis import RefusedError
from services.console.desk import Somebody, Visit, to
from services.console.model import STAFF

router = APIRouter()
STEPS = ("accepted", "relayed", "answered", "sealed")


@router.get("/changes")
async def find(visit: Somebody, q: str = "") -> Response:
    """Show the search, or go to what the id names: a change, else a member."""
    visit.require(*STAFF)
    asked = q.strip()
    if not asked:
        return visit.page("changes.html", asked="", fault=None)
    try:
        ref = str(uuid.UUID(asked))
    except ValueError:
        return visit.page("changes.html", status=422, asked=asked[:80], fault="not_an_id")
    for path, target in ((f"/v1/changes/{ref}", f"/changes/{ref}"), (f"/v1/members/{ref}/changes", f"/members/{ref}")):
        try:
            await visit.api.get("consent", path)
        except RefusedError as error:
            if error.status != 404:
                raise
        else:
            return to(target)
    return visit.page("changes.html", status=404, asked=ref, fault="nothing_found")


@router.get("/changes/{change_id}")
async def show(visit: Somebody, change_id: uuid.UUID) -> Response:
    """Show one change and where it is."""
    visit.require(*STAFF)
    return visit.page("change.html", **await _change(visit, change_id))


@router.get("/parts/changes/{change_id}")
async def part(visit: Somebody, change_id: uuid.UUID) -> Response:
    """Return the stages alone: asked for again until all have answered."""
    visit.require(*STAFF)
    return visit.page("parts/stages.html", **await _change(visit, change_id))


async def _change(visit: Visit, change_id: uuid.UUID) -> dict[str, Any]:
    found = await visit.api.get("consent", f"/v1/changes/{change_id}")
    return {"change": found, "rows": rows_of(found), "settled": found["complete"] and found["sealed_at"] is not None}


def rows_of(change: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what each recipient did about a change, with the seconds it took from the acceptance."""
    accepted = change["accepted_at"]
    return [{**r, "after": words.seconds_between(accepted, r["at"]) if r["at"] else None} for r in change["recipients"]]


@router.get("/changes/{change_id}/certificate")
async def certificate(visit: Somebody, change_id: uuid.UUID) -> Response:
    """Return the certificate that everybody has answered a change, to print; the API says who has not."""
    visit.require(*STAFF)
    found = await visit.api.document("consent", f"/v1/changes/{change_id}/certificate", "text/html")
    return Response(found.content, media_type=found.media_type)

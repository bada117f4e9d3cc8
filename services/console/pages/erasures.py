"""Destruction (clause 7): what waits for the second person, what runs, what is held; certificates."""

import uuid
from typing import Any, Final

from fastapi import APIRouter, Response

from services.console.apis import RefusedError
from services.console.desk import Sent, Somebody, Visit, to
from services.console.model import OFFICERS, STAFF
from services.policy.erasure import catalogue

router = APIRouter()
STATES: Final = ("open", "late", "selected", "approved", "executing", "held", "unconfirmed", "erased", "any")
ENDED: Final = frozenset({"erased", "any"})
"""These have no end: every case that ever was is among them."""
VERBS: Final = {"approve": ("reason",), "execute": (), "hold": ("reason",), "lift": ()}


@router.get("/erasures")
async def cases(visit: Somebody, state: str = "open", cursor: str = "") -> Response:
    """Show all cases of a state that somebody must do something about; of the others a page, the newest first."""
    visit.require(*STAFF)
    wanted = state if state in STATES else "open"
    if wanted in ENDED:
        asked = {"state": wanted, "order": "newest", "cursor": cursor}
        page = await visit.api.get("consent", "/v1/erasures", **asked)
    else:
        page = {"erasures": await visit.api.listed("consent", "/v1/erasures", "erasures", state=wanted), "next": None}
    return visit.page("erasures.html", cases=page["erasures"], following=page["next"], state=wanted, states=STATES)


@router.get("/erasures/{ref}")
async def case(visit: Somebody, ref: uuid.UUID) -> Response:
    """Show one case: who selected it, who approved it, what each recipient answered."""
    visit.require(*STAFF)
    return visit.page("erasure.html", **await _case(visit, ref))


async def _case(visit: Visit, ref: uuid.UUID) -> dict[str, Any]:
    found = await visit.api.get("consent", f"/v1/erasures/{ref}")
    account = visit.known
    other = found["selected_by"] != account.subject
    return {
        "case": found,
        "classes": catalogue().classes,
        "holds": catalogue().holds,
        "may_approve": account.role == "cpo" and found["approved_at"] is None and other,
        "same_person": account.role == "cpo" and found["approved_at"] is None and not other,
        "may_execute": account.officer and found["state"] == "approved" and not found["held"],
        "may_hold": account.officer and found["state"] != "erased" and not found["held"],
    }


@router.post("/erasures/{ref}/{verb}")
async def act(visit: Somebody, ref: uuid.UUID, verb: str, form: Sent) -> Response:
    """Approve, execute, hold or lift; the API knows who may."""
    visit.require(*OFFICERS)
    if verb not in VERBS:
        return to(f"/erasures/{ref}")
    body = form.given(*VERBS[verb]) if VERBS[verb] else None
    try:
        await visit.api.post("consent", f"/v1/erasures/{ref}/{verb}", body, key=form.text("key") or None)
    except RefusedError as error:
        return visit.refused("erasure.html", error, **await _case(visit, ref))
    return to(f"/erasures/{ref}")


@router.get("/erasures/{ref}/certificate")
async def certificate(visit: Somebody, ref: uuid.UUID, form: str = "html") -> Response:
    """Return the certificate: a page to print, or the signed JSON as a download."""
    visit.require(*STAFF)
    accept = "application/json" if form == "json" else "text/html"
    found = await visit.api.document("consent", f"/v1/erasures/{ref}/certificate", accept)
    name = f'attachment; filename="destruction-{ref}.json"' if form == "json" else "inline"
    return Response(found.content, media_type=found.media_type, headers={"Content-Disposition": name})

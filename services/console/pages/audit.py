"""The audit log: search, one entry with its proof, the proof as a file that verifies offline."""

from datetime import date, datetime, time, timedelta
from typing import Any, Final

import orjson
from fastapi import APIRouter, Response

from services.console.apis import Asker, RefusedError
from services.console.desk import Somebody, Visit, to
from services.console.model import REASONS, ROUTINE, STAFF
from services.runtime.clock import KST

router = APIRouter()
LIMIT: Final = 50
FIELDS: Final = ("member_ref", "change_id", "affiliate", "clause", "actor", "type")


@router.get("/audit")
async def search(visit: Somebody) -> Response:
    """Search: every field may be empty; days are in Korea and both are meant whole."""
    visit.require(*STAFF)
    asked = {
        name: visit.request.query_params.get(name, "").strip() for name in (*FIELDS, "start", "end", "cursor", "why")
    }
    shown: dict[str, Any] = {"asked": asked, "checkpoint": await _checkpoint(visit), "reasons": REASONS}
    try:
        found = await _api(visit).get("audit", "/v1/audit/entries", **_params(asked), limit=LIMIT, order="newest")
    except (RefusedError, ValueError, OverflowError) as error:
        refusal = error if isinstance(error, RefusedError) else RefusedError(422, "not_a_date", "")
        empty: dict[str, Any] = {"entries": [], "next": None}
        return visit.page("audit.html", status=422, refusal=refusal, found=empty, **shown)
    return visit.page("audit.html", found=found, **shown)


def _params(asked: dict[str, str]) -> dict[str, str]:
    """Return the API's parameters. Raises ValueError for what is no day, OverflowError for the last one there is."""
    params = {name: asked[name] for name in (*FIELDS, "cursor") if asked[name]}
    if asked["start"]:
        params["from"] = datetime.combine(date.fromisoformat(asked["start"]), time.min, KST).isoformat()
    if asked["end"]:
        params["to"] = datetime.combine(date.fromisoformat(asked["end"]) + timedelta(1), time.min, KST).isoformat()
    return params


def _api(visit: Visit) -> Asker:
    """The APIs, with why this person looks at the log."""
    why = visit.request.query_params.get("why", "")
    return visit.asking(why if why in REASONS else ROUTINE)


async def _checkpoint(visit: Visit) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await visit.api.get("audit", "/v1/audit/checkpoint")
    except RefusedError:
        return None  # nothing is sealed yet
    return found


@router.get("/audit/{index}")
async def entry(visit: Somebody, index: int) -> Response:
    """Show one entry: what it says, and where it stands in the tree."""
    visit.require(*STAFF)
    found = await _api(visit).get("audit", f"/v1/audit/entries/{index}")
    try:
        proof = await _api(visit).get("audit", f"/v1/audit/entries/{index}/proof")
    except RefusedError:
        proof = None  # no checkpoint covers it yet
    body = orjson.dumps(found["body"], option=orjson.OPT_INDENT_2).decode()
    return visit.page("entry.html", entry=found, body=body, proof=proof)


@router.get("/audit/{index}/proof")
async def proof_file(visit: Somebody, index: int) -> Response:
    """Return the proof as a C2SP tlog-proof file: `dongui audit verify FILE` checks it without us."""
    visit.require(*STAFF)
    path = f"/v1/audit/entries/{index}/proof"
    found = await _api(visit).document("audit", path, "text/plain", format="tlog-proof")
    name = f'attachment; filename="{index}.tlog-proof"'
    return Response(found.content, media_type="text/plain", headers={"Content-Disposition": name})


@router.get("/audit/{index}/certificate")
async def certificate(visit: Somebody, index: int) -> Response:
    """Return the proof as a Korean page to print, where the audit service makes one; else the entry's own page."""
    visit.require(*STAFF)
    path = f"/v1/audit/entries/{index}/proof"
    found = await _api(visit).document("audit", path, "text/html", format="html")
    if not found.media_type.startswith("text/html"):
        return to(f"/audit/{index}")
    return Response(found.content, media_type=found.media_type)

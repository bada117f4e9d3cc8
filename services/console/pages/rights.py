"""The desk of rights requests (clause 5): what is open and until when, and each step of one with its evidence."""

import uuid
from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Response
from starlette.datastructures import UploadFile

from services.console.apis import RefusedError
from services.console.desk import Form, Sent, Somebody, Visit, to
from services.console.model import OFFICERS, PAGES
from services.policy.rights import TypeId, catalogue

router = APIRouter()
STATES: Final = ("received", "verified", "deferred", "decided", "done", "released", "withdrawn")
CHANNELS: Final = ("written", "email", "fax", "phone", "web")
DOCUMENTS: Final = ("form-8", "form-11", "identity", "guardianship-certificate", "family-certificate", "proof")
METHODS: Final = ("id_card", "phone_check", "signed_mandate", "own_token")
OPTIONAL: Final = (
    *("items", "agent", "verified_at", "deferral", "deferred_at", "reason_ended_at", "decided_at", "suspends"),
    *("change_ids", "ended_at", "outcome", "ground", "statute", "granted_items", "objection", "received_by"),
)
STEPS: Final[Mapping[str, tuple[str, ...]]] = {
    "verify": ("method", "agent_method"),
    "defer": ("reason", "reason_ended_at"),
    "decide": ("outcome", "ground", "statute"),
    "done": ("told_by",),
    "withdraw": (),
    "release": ("method",),
}
"""The fields of each step's form that go into its body as they are."""


@router.get("/rights")
async def desk(visit: Somebody, state: str = "open", cursor: str = "") -> Response:
    """Show all requests that are still to be done, the first last day first; of another state a page, newest first."""
    visit.require(*PAGES["rights"])
    return visit.page("rights.html", **await _desk(visit, state, cursor))


async def _desk(visit: Visit, state: str, cursor: str = "") -> dict[str, Any]:
    found, following = await (_open(visit) if state == "open" else _newest(visit, state, cursor))
    offered = {"states": STATES, "types": catalogue().types, "channels": CHANNELS}
    return {"requests": [_whole(r) for r in found], "following": following, "state": state, **offered}


async def _open(visit: Visit) -> tuple[list[Any], None]:
    found = await visit.api.listed("consent", "/v1/rights-requests", "requests", state="open")
    return sorted(found, key=lambda r: (r["due_on"], r["received_at"])), None


async def _newest(visit: Visit, state: str, cursor: str) -> tuple[list[Any], Any]:
    asked = {"state": state if state in STATES else None, "order": "newest", "cursor": cursor}
    page = await visit.api.get("consent", "/v1/rights-requests", **asked)
    return page["requests"], page["next"]


def _whole(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with every field a page looks at; the API leaves out what is not there."""
    return {**dict.fromkeys(OPTIONAL), **request}


@router.post("/rights")
async def take_in(visit: Somebody, form: Sent) -> Response:
    """Enter a request that arrived on paper, by mail, by telephone."""
    visit.require(*OFFICERS, "affiliate")
    items = form.text("items").replace(",", " ").split()
    body = {**form.given("member_ref", "type", "channel"), **({"items": items} if items else {})}
    try:
        made = await visit.api.post("consent", "/v1/rights-requests", body, key=form.text("key") or None)
    except RefusedError as error:
        return visit.refused("rights.html", error, **await _desk(visit, "open"))
    return to(f"/rights/{made['id']}")


@router.get("/rights/{request_id}")
async def show(visit: Somebody, request_id: uuid.UUID) -> Response:
    """Show one request and the steps that are open to it."""
    visit.require(*PAGES["rights"])
    return visit.page("right.html", **await _request(visit, request_id))


async def _request(visit: Visit, request_id: uuid.UUID) -> dict[str, Any]:
    found = _whole(await visit.api.get("consent", f"/v1/rights-requests/{request_id}"))
    papers = await visit.api.get("consent", f"/v1/rights-requests/{request_id}/evidence")
    type_: TypeId = found["type"]
    offered = [g for (t, _), g in catalogue().grounds.items() if t == type_ and (g.offered or g.before_verification)]
    state = found["state"]
    return {
        "asked": found,
        "evidence": papers["evidence"],
        "grounds": [g for g in offered if g.before_verification == (state == "received")],
        "statutes": list(catalogue().statutes.values()),
        "deferrals": list(catalogue().deferrals.values()),
        "kind": catalogue().types[type_],
        "methods": METHODS,
        "documents": DOCUMENTS,
        "attachable": state in {"received", "verified", "deferred"} and visit.known.role != "auditor",
        "channels": CHANNELS,
        "steps": _steps(found) if visit.known.officer else (),
    }


def _steps(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the forms worth showing; whether a step is allowed the API says."""
    state = found["state"]
    suspended = found["type"] == "suspension" and found.get("suspends")
    deferrable = found["type"] == "access" and not found.get("deferral")
    return {
        "received": ("verify", "decide", "withdraw"),
        "verified": ("decide", *(("defer",) if deferrable else ()), "withdraw"),
        "deferred": ("decide", "defer", "done", "withdraw"),
        "decided": ("done", *(("release",) if suspended else ())),
        "done": ("release",) if suspended else (),
    }.get(state, ())


@router.post("/rights/{request_id}/evidence")
async def attach(visit: Somebody, request_id: uuid.UUID, form: Sent) -> Response:
    """Attach a document; the consent service seals it under the member's key."""
    visit.require(*OFFICERS, "affiliate")
    file = form.data.get("file")
    content, media_type = (await file.read(), file.content_type or "") if isinstance(file, UploadFile) else (b"", "")
    path = f"/v1/rights-requests/{request_id}/evidence"
    try:
        await visit.api.attach("consent", path, content, media_type or "text/plain", kind=form.text("kind", 40))
    except RefusedError as error:
        return visit.refused("right.html", error, **await _request(visit, request_id))
    return to(f"/rights/{request_id}")


@router.post("/rights/{request_id}/{step}")
async def move(visit: Somebody, request_id: uuid.UUID, step: str, form: Sent) -> Response:
    """Do one step; what the API refuses is told at the head of the page."""
    account = visit.require(*OFFICERS)
    if step not in STEPS:
        return to(f"/rights/{request_id}")
    body = _body(step, form, account.name)
    try:
        await visit.api.post("consent", f"/v1/rights-requests/{request_id}/{step}", body, key=form.text("key") or None)
    except RefusedError as error:
        return visit.refused("right.html", error, **await _request(visit, request_id))
    return to(f"/rights/{request_id}")


def _body(step: str, form: Form, who: str) -> dict[str, Any] | None:
    if step == "withdraw":
        return None
    body: dict[str, Any] = dict(form.given(*STEPS[step]))
    if step in {"verify", "release"}:
        body["verified_by"] = who
    items = form.text("items").replace(",", " ").split()
    return {**body, "items": items} if step == "decide" and items else body


@router.get("/rights/{request_id}/answer")
async def answer(visit: Somebody, request_id: uuid.UUID) -> Response:
    """Return the answer to print, as the consent service renders it."""
    visit.require(*OFFICERS)
    found = await visit.api.document("consent", f"/v1/rights-requests/{request_id}/answer", "text/html")
    return Response(found.content, media_type=found.media_type)


@router.get("/rights/{request_id}/evidence/{evidence_id}")
async def paper(visit: Somebody, request_id: uuid.UUID, evidence_id: uuid.UUID) -> Response:
    """Return one document that came with a request, as a download."""
    visit.require(*OFFICERS)
    path = f"/v1/rights-requests/{request_id}/evidence/{evidence_id}"
    found = await visit.api.document("consent", path, "*/*")
    return Response(found.content, media_type=found.media_type, headers={"Content-Disposition": "attachment"})

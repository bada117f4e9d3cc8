"""Routes of rights requests (clause 5)."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from services.consent.access import Ask, Asked, Write, send
from services.consent.paging import Place
from services.consent.refusals import not_found
from services.consent.rights import answers, evidence, handlers, html, intake, refusals, retained
from services.consent.rights.access import Who, anyone, handler, person, reader
from services.consent.rights.bodies import (
    DecideBody,
    DeferBody,
    ReleaseBody,
    RequestBody,
    ToldBody,
    VerifyBody,
)
from services.consent.rights.handlers import Command
from services.runtime.fields import Cursor, Id, Order
from services.runtime.web import other_forms

router = APIRouter(tags=["rights"])
STATES = "^(open|received|verified|deferred|decided|done|released|withdrawn)$"
UNSTORED = {"Cache-Control": "no-store"}
BYTES = {"requestBody": {"required": True, "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}}


@router.post("/v1/rights-requests", status_code=201)
async def receive(ask: Write, body: RequestBody, response: Response) -> dict[str, Any]:
    """Take in a request: by staff for any channel, by a member on the web, by an affiliate where one arrived."""
    who = anyone(ask)
    ref = _uuid(body.member_ref, not_found())
    key = ask.key(body.model_dump(mode="json", exclude_unset=True), required=True)
    return send(response, await intake.receive(ask.consent, body, ref, who, key))


@router.get("/v1/rights-requests")
async def list_requests(
    ask: Ask,
    state: Annotated[str | None, Query(pattern=STATES)] = None,
    member_ref: Id | None = None,
    cursor: Cursor = 0,
    order: Order = "oldest",
) -> dict[str, Any]:
    """Return requests in order of intake: `{"requests": [...], "next"}`; `open` are those not yet told the result."""
    who = reader(ask)
    ref = _uuid(member_ref, not_found()) if member_ref is not None else None
    if who.member is not None and ref not in {None, who.member}:
        raise not_found()
    return await handlers.listed(ask.consent, who, state=state, member_ref=ref, place=Place(cursor, order))


@router.get("/v1/rights-requests/{request_id}")
async def read(ask: Ask, request_id: str) -> dict[str, Any]:
    """Return one request: state, dates, outcome with its ground and how to object."""
    return await handlers.read(ask.consent, _id(request_id), reader(ask))


@router.post("/v1/rights-requests/{request_id}/verify")
async def verify(ask: Write, request_id: str, body: VerifyBody, response: Response) -> dict[str, Any]:
    """Record that the identity is established (5.6); a suspension takes effect now."""
    command = _command(ask, request_id, handler(ask), body.model_dump(mode="json"))
    return send(response, await handlers.verify(command, body))


@router.post("/v1/rights-requests/{request_id}/decide")
async def decide(ask: Write, request_id: str, body: DecideBody, response: Response) -> dict[str, Any]:
    """Grant, grant in part or refuse; the effect is in the same transaction."""
    command = _command(ask, request_id, handler(ask), body.model_dump(mode="json"))
    return send(response, await handlers.decide(command, body))


@router.post("/v1/rights-requests/{request_id}/defer")
async def defer(ask: Write, request_id: str, body: DeferBody, response: Response) -> dict[str, Any]:
    """Put an access off for a reason, or record that the reason has ended."""
    command = _command(ask, request_id, handler(ask), body.model_dump(mode="json"))
    return send(response, await handlers.defer(command, body))


@router.post("/v1/rights-requests/{request_id}/withdraw")
async def withdraw(ask: Write, request_id: str, response: Response) -> dict[str, Any]:
    """Take the request back."""
    return send(response, await handlers.withdraw(_command(ask, request_id, person(ask), None)))


@router.post("/v1/rights-requests/{request_id}/release")
async def release(ask: Write, request_id: str, response: Response, body: ReleaseBody | None = None) -> dict[str, Any]:
    """Lift a granted suspension; staff say how the identity was established."""
    who = person(ask)
    if who.handles and body is None:
        raise refusals.identity_not_verified()
    command = _command(ask, request_id, who, body.model_dump(mode="json") if body else None)
    return send(response, await handlers.release(command, body))


@router.post("/v1/rights-requests/{request_id}/done")
async def tell(ask: Write, request_id: str, body: ToldBody, response: Response) -> dict[str, Any]:
    """Record that the person has been told the result."""
    command = _command(ask, request_id, handler(ask), body.model_dump(mode="json"))
    return send(response, await handlers.tell(command, body))


@router.get("/v1/rights-requests/{request_id}/answer", response_model=None, responses=other_forms("text/html"))
async def read_answer(ask: Ask, request_id: str, request: Request, response: Response) -> Response | dict[str, Any]:
    """Return the answer as JSON, or as a Korean page to print for `Accept: text/html`."""
    who = person(ask)
    wanted = "html" if "text/html" in request.headers.get("accept", "") else "json"
    found = await answers.shown(ask.consent, _id(request_id), who, wanted)
    if wanted == "html":
        return HTMLResponse(found["page"], headers=html.HEADERS | UNSTORED)
    response.headers.update(UNSTORED)
    document: dict[str, Any] = found["document"]
    return document


@router.get("/v1/rights-requests/{request_id}/retained-records")
async def read_retained(ask: Ask, request_id: str, request: Request, response: Response) -> dict[str, Any]:
    """Return what the law makes us keep of somebody who left: to that person, by a granted access."""
    read = getattr(request.app.state, "read_retained", None)
    response.headers.update(UNSTORED)
    return await retained.shown(ask.consent, read, _id(request_id), person(ask))


@router.post("/v1/rights-requests/{request_id}/evidence", status_code=201, openapi_extra=BYTES)
async def attach(
    ask: Write, request_id: str, request: Request, response: Response, kind: Annotated[str, Query(max_length=40)]
) -> dict[str, Any]:
    """Attach a document (up to 200 kB, the body is its bytes), kept sealed under the member's data key."""
    who = anyone(ask)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    content = await request.body()
    key = ask.key([kind, media_type, content.hex()], required=True)
    answer = await evidence.attach(ask.consent, _id(request_id), kind, media_type, content, who, key)
    return send(response, answer)


@router.get("/v1/rights-requests/{request_id}/evidence")
async def list_evidence(ask: Ask, request_id: str) -> dict[str, Any]:
    """Return the documents of a request without their content."""
    return await evidence.listed(ask.consent, _id(request_id), reader(ask))


@router.get(
    "/v1/rights-requests/{request_id}/evidence/{evidence_id}",
    response_class=Response,
    responses=other_forms(*sorted(evidence.MEDIA_TYPES)),
)
async def read_evidence(ask: Ask, request_id: str, evidence_id: str) -> Response:
    """Return one document's bytes, for those who decide."""
    who = handler(ask)
    found = _uuid(evidence_id, refusals.unknown_request())
    media_type, content = await evidence.content(ask.consent, _id(request_id), found, who)
    headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff", **UNSTORED}
    return Response(content, media_type=media_type, headers=headers)


def _command(ask: Asked, request_id: str, who: Who, body: Any) -> Command:
    return Command(ask.consent, _id(request_id), who, ask.key(body, required=True))


def _id(text: str) -> str:
    return _uuid(text, refusals.unknown_request())


def _uuid(text: str, otherwise: Exception) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise otherwise from error

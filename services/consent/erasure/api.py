"""Routes of destruction (clause 7). Approval is the privacy officer's alone; the rest is for officers and services."""

import uuid
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import Field

from services.consent.access import OFFICERS, READERS, Ask, Write, send
from services.consent.bodies import Body, Reason
from services.consent.erasure import certificate, handlers, issue
from services.consent.erasure.handlers import Command
from services.consent.erasure.issue import Issuer
from services.consent.paging import Place
from services.consent.rights.html import HEADERS
from services.runtime.fields import Cursor, Order
from services.runtime.web import other_forms

router = APIRouter(tags=["erasure"])
Listed = Literal["open", "selected", "approved", "executing", "erased", "unconfirmed", "held", "late", "any"]
UNSTORED = {"Cache-Control": "no-store"}


class ApprovalBody(Body):
    """POST /v1/erasures/{id}/approve. The reason is the officer's; it names no person."""

    reason: Reason


class HoldBody(Body):
    """POST /v1/erasures/{id}/hold."""

    reason: str = Field(max_length=64)


@router.get("/v1/erasures")
async def list_erasures(
    ask: Ask, state: Listed = "open", cursor: Cursor = 0, order: Order = "oldest"
) -> dict[str, Any]:
    """Return cases in order of selection.

    `open`: not yet erased; `late`: past the law's last day; `unconfirmed`: never approved by a person.
    """
    ask.require("service", *READERS)
    return await handlers.listed(ask.consent, state, Place(cursor, order))


@router.get("/v1/erasures/keys")
async def read_keys(ask: Ask) -> dict[str, Any]:
    """Return the public key of certificates as a JWKS."""
    ask.require("service", "member", *READERS)
    return _issuer(ask.request).required().jwks()


@router.get("/v1/erasures/{ref}")
async def read_erasure(ask: Ask, ref: str) -> dict[str, Any]:
    """Return one case, by its id or its member's reference."""
    ask.require("service", *READERS)
    row = await handlers.read(ask.consent, _uuid(ref))
    return {**handlers.shown(row), "recipients": row["recipients"]}


@router.post("/v1/erasures/{ref}/approve")
async def approve(ask: Write, ref: str, body: ApprovalBody, response: Response) -> dict[str, Any]:
    """Approve a case before it runs, or confirm one that ran (7.3)."""
    by = ask.require_confirmed("cpo").sub
    key = ask.key(body.model_dump(mode="json"), required=True)
    return send(response, await handlers.approve(Command(ask.consent, _uuid(ref), by, key), body.reason))


@router.post("/v1/erasures/{ref}/execute", status_code=202)
async def execute(ask: Write, ref: str, response: Response) -> dict[str, Any]:
    """Run an approved case now."""
    by = ask.require("service", *OFFICERS).sub
    return send(response, await handlers.execute(Command(ask.consent, _uuid(ref), by, ask.key(None, required=True))))


@router.post("/v1/erasures/{ref}/hold")
async def hold(ask: Write, ref: str, body: HoldBody, response: Response) -> dict[str, Any]:
    """Put a legal hold on a case."""
    by = ask.require(*OFFICERS).sub
    key = ask.key(body.model_dump(mode="json"), required=True)
    return send(response, await handlers.hold(Command(ask.consent, _uuid(ref), by, key), body.reason))


@router.post("/v1/erasures/{ref}/lift")
async def lift(ask: Write, ref: str, response: Response) -> dict[str, Any]:
    """Lift the hold: the destruction runs again."""
    by = ask.require(*OFFICERS).sub
    return send(response, await handlers.lift(Command(ask.consent, _uuid(ref), by, ask.key(None, required=True))))


@router.get("/v1/erasures/{ref}/certificate", response_model=None, responses=other_forms("text/html"))
async def read_certificate(ask: Ask, ref: str, request: Request) -> Response | dict[str, Any]:
    """Return the certificate: JSON with its JWS and proof, or a Korean page for `Accept: text/html`."""
    ask.require("service", *READERS)
    issued = await issue.issue(ask.consent, _issuer(request), _uuid(ref))
    if request.headers.get("accept", "").startswith("text/html"):
        return HTMLResponse(certificate.page(issued.document, issued.jws), headers={**HEADERS, **UNSTORED})
    return issued.shown()


def _issuer(request: Request) -> Issuer:
    found: Issuer = request.app.state.certificates
    return found


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise handlers.erasure_not_found() from error

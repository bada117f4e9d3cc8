"""Routes of clause 5.7: correction notices pulled, answered, sent by hand; the certificate of a change."""

import uuid
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from services.consent import changes
from services.consent.access import OFFICERS, READERS, Ask, Write, send
from services.consent.bodies import AcknowledgementBody
from services.consent.corrections import issue, manual, pull, register
from services.consent.corrections.manual import ManualBody
from services.consent.corrections.register import Answerer
from services.consent.erasure.api import UNSTORED
from services.consent.paging import Place
from services.consent.rights.html import HEADERS
from services.runtime.fields import Cursor, Id, Order
from services.runtime.problem import Problem
from services.runtime.web import other_forms

router = APIRouter(tags=["corrections"])


@router.get("/v1/notices")
async def list_notices(
    ask: Ask, recipient: Id | None = None, after: Cursor = 0, order: Order = "oldest", unanswered: bool = False
) -> dict[str, Any]:
    """Pull the correction notices of a third party behind a cursor: missed ones included.

    Staff who name no recipient get everybody's, in either order, with the number of those without an answer.
    """
    principal = ask.require("third_party", "service", *READERS)
    mine = principal.sub if principal.has("third_party") else recipient
    if mine is None and principal.has(*READERS):
        return await register.listed_all(ask.consent, Place(after, order), unanswered=unanswered)
    if mine is None or (recipient is not None and recipient != mine):
        raise Problem(
            422 if mine is None else 403,
            "recipient_required" if mine is None else "forbidden",
            "recipient를 확인해 주세요.",
            "Name the recipient; a third party may name itself only.",
        )
    if unanswered or order != "oldest":
        ko = "order와 unanswered는 담당자가 보는 전체 목록에만 쓸 수 있습니다. 빼고 다시 요청해 주세요."
        en = "Only staff's list of all recipients takes order and unanswered; leave them out."
        raise Problem(422, "whole_list_only", ko, en)
    return await register.listed(ask.consent, mine, after)


@router.get("/v1/notices/{notice_id}")
async def read_notice(ask: Ask, notice_id: str, response: Response) -> dict[str, Any]:
    """Pull a correction notice: its own third party gets the values it may have now, staff see none."""
    principal = ask.require("third_party", "service", *READERS)
    response.headers.update(UNSTORED)
    if principal.has("third_party"):
        return await pull.pulled(ask.consent, _uuid(notice_id), principal.sub)
    return await pull.shown(ask.consent, _uuid(notice_id))


@router.post("/v1/notices/{notice_id}/acknowledgement")
async def acknowledge(ask: Ask, notice_id: str, body: AcknowledgementBody) -> dict[str, str]:
    """Take a third party's answer to a notice, or staff's entry of it with evidence; repeating it changes nothing."""
    principal = ask.require("third_party", "service", *OFFICERS)
    mine = principal.sub if principal.has("third_party") else None
    staff = principal.sub if mine is None and not principal.has("service") else None
    who = Answerer(recipient=mine, staff=staff)
    return {"outcome": await register.acknowledge(ask.consent, _uuid(notice_id), who, body)}


@router.post("/v1/notices/{notice_id}/manual", status_code=201)
async def sent_by_hand(ask: Write, notice_id: str, body: ManualBody, response: Response) -> dict[str, Any]:
    """Record that staff sent a notice by e-mail or post."""
    by = ask.require(*OFFICERS).sub
    key = ask.key(body.model_dump(mode="json"), required=True)
    return send(response, await manual.sent(ask.consent, _uuid(notice_id), body, by, key))


@router.get("/v1/changes/{change_id}/certificate", response_model=None, responses=other_forms("text/html"))
async def read_certificate(ask: Ask, change_id: str, request: Request) -> Response | dict[str, Any]:
    """Return the certificate of an answered change: JSON with its JWS, or a Korean page for `Accept: text/html`."""
    principal = ask.require("service", "member", *READERS)
    canonical = _uuid(change_id, changes.change_not_found())
    if not principal.has("service", *READERS):
        await changes.refuse_other_member(ask.consent, canonical, principal.sub)
    issued = await issue.issue(ask.consent, request.app.state.certificates, canonical)
    if request.headers.get("accept", "").startswith("text/html"):
        return HTMLResponse(issued.page, headers={**HEADERS, **UNSTORED})
    return issued.shown()


def _uuid(text: str, otherwise: Problem | None = None) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise otherwise or register.notice_not_found() from error

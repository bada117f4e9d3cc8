"""Routes of messages: what was sent and what waits (no value, no address), refusing a kind, advertising."""

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import StrictBool, StringConstraints

from schemas.base import RecipientId
from services.consent.access import READERS, Ask, Write, send
from services.consent.bodies import Body
from services.consent.messages import handlers, source
from services.consent.paging import Place
from services.consent.refusals import not_found
from services.runtime.fields import Cursor, Id, Order

router = APIRouter(tags=["messages"])
State = Literal["queued", "sent", "dropped", "failed"]


class AdvertisementBody(Body):
    """POST /v1/members/{ref}/messages: an advertisement of one company; whether it goes is asked when it goes."""

    sender: RecipientId
    medium: Literal["email", "sms", "push"] = "email"
    title: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    text: Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]+$")]


class SourceBody(Body):
    """POST /v1/members/{ref}/source-notices: the company that is asked."""

    sender: RecipientId


class WantedBody(Body):
    """PUT /v1/members/{ref}/messages/{kind}: whether the member wants messages of a kind that may be refused."""

    wanted: StrictBool


@router.get("/v1/messages")
async def list_messages(
    ask: Ask,
    member_ref: Id | None = None,
    state: State | None = None,
    cursor: Cursor = 0,
    order: Order = "oldest",
) -> dict[str, Any]:
    """Return messages in order of queueing with their tries; a member sees its own, staff any."""
    principal = ask.require("service", "member", *READERS)
    if principal.has("service", *READERS):
        ref = None if member_ref is None else _uuid(member_ref)
    else:
        ref = ask.member(member_ref or principal.sub)
    return await handlers.listed(ask.consent, ref, state, Place(cursor, order))


@router.post("/v1/members/{ref}/messages", status_code=202)
async def advertise(ask: Write, ref: str, body: AdvertisementBody, response: Response) -> dict[str, Any]:
    """Queue an advertisement: 422 when it does not look as the law wants; whether it may go is asked when it goes."""
    ask.require("service")
    key = ask.key(body.model_dump(mode="json"), required=True)
    assert key is not None  # it is required
    asked = handlers.Advertisement(body.sender, body.medium, body.title, body.text)
    return send(response, await handlers.advertise(ask.consent, ask.member(ref), asked, key))


@router.post("/v1/members/{ref}/source-notices", status_code=202)
async def ask_for_source(ask: Write, ref: str, body: SourceBody, response: Response) -> dict[str, Any]:
    """Have a recipient tell where it has the data from, at once (PIPA 20(1)); 409 when it was given nothing."""
    canonical = ask.member(ref)
    key = ask.key(body.model_dump(mode="json"), required=True)
    assert key is not None  # it is required
    return send(response, await source.ask(ask.consent, canonical, body.sender, key))


@router.put("/v1/members/{ref}/messages/{kind}")
async def want(ask: Write, ref: str, kind: str, body: WantedBody) -> dict[str, Any]:
    """Refuse the yearly notice of use, or take that back; repeating it changes nothing."""
    await handlers.want(ask.consent, ask.member(ref), kind, wanted=body.wanted)
    return {"kind": kind, "wanted": body.wanted}


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise not_found() from error

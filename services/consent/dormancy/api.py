"""Routes of dormancy: the signal of use, and the members under an account."""

from typing import Any

from fastapi import APIRouter, Response

from schemas.base import Uuid
from services.consent.access import Ask, Write, send
from services.consent.bodies import Body
from services.consent.dormancy import activity
from services.consent.registers.bodies import Past

router = APIRouter(tags=["dormancy"])


class ActivityBody(Body):
    """POST /v1/members/{ref}/activity. Without `at`, now."""

    at: Past | None = None


class AccountMemberBody(Body):
    """POST /v1/members/{ref}/account-members."""

    member_ref: Uuid


@router.post("/v1/members/{ref}/activity")
async def used(ask: Ask, ref: str, body: ActivityBody) -> dict[str, Any]:
    """Take note of a log-in or another use (2.2). Needs no Idempotency-Key: repeating it changes nothing."""
    ask.require("service")
    return await activity.used(ask.consent, ask.member(ref), body.at, ask.caller())


@router.get("/v1/members/{ref}/account-members")
async def list_members(ask: Ask, ref: str) -> dict[str, Any]:
    """Return the members under an administrator's account."""
    return await activity.listed(ask.consent, ask.member(ref, staff=True))


@router.post("/v1/members/{ref}/account-members", status_code=201)
async def add_member(ask: Write, ref: str, body: AccountMemberBody, response: Response) -> dict[str, Any]:
    """Put a member under an administrator's account: it leaves with the account (2.2)."""
    ask.require("service")
    canonical = ask.member(ref)
    key = ask.key(body.model_dump(mode="json"), required=True)
    return send(response, await activity.add(ask.consent, canonical, body.member_ref, key))


@router.delete("/v1/members/{ref}/account-members/{member_ref}", status_code=204)
async def remove_member(ask: Ask, ref: str, member_ref: str) -> None:
    """Take a member out of an account."""
    ask.require("service")
    await activity.remove(ask.consent, ask.member(ref), ask.member(member_ref))

"""Routes of statutory records (clause 2.1): taken from the services, shown to the person, listed by their end."""

from typing import Any

from fastapi import APIRouter, Response

from services.consent import statutory
from services.consent.access import OFFICERS, Ask, Write, send
from services.consent.statutory import RecordBody
from services.runtime.fields import Day, DayCursor

router = APIRouter(tags=["records"])


@router.post("/v1/members/{ref}/records", status_code=201)
async def take(ask: Write, ref: str, body: RecordBody, response: Response) -> dict[str, Any]:
    """Keep a record that another law requires; what a class may hold is in the answer to a refused one."""
    ask.require("service")
    canonical = ask.member(ref)
    key = ask.key(body.model_dump(mode="json", by_alias=True), required=True)
    return send(response, await statutory.take(ask.consent, canonical, body, ask.caller(), key))


@router.get("/v1/members/{ref}/records")
async def list_records(ask: Ask, ref: str, response: Response) -> dict[str, Any]:
    """Return a member's records with their content while they are here (decree 6 of the e-commerce act)."""
    response.headers["Cache-Control"] = "no-store"
    return await statutory.listed(ask.consent, ask.member(ref))


@router.get("/v1/records/schedule")
async def schedule(ask: Ask, until: Day, cursor: DayCursor = "") -> dict[str, Any]:
    """Return which records are to be destroyed here by the end of a day (KST), earliest first. No content."""
    ask.require("service", "auditor", *OFFICERS)
    return await statutory.schedule(ask.consent, until, cursor)

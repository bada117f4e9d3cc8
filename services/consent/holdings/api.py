"""Routes of what an affiliate must hold: for the affiliate's own processes, and for those who run the system."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field, StrictBool, StringConstraints

from schemas.base import Uuid
from services.consent.access import Ask, Asked
from services.consent.bodies import Body
from services.consent.holdings import entitle, handlers
from services.consent.refusals import forbidden

router = APIRouter(tags=["holdings"])
Reference = Annotated[str | None, Query(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Salt = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16,64}$")]
SIZE_MAX, PARTS_MAX = 10_000, 1000


class MembersBody(Body):
    """POST /v1/affiliates/{id}/holdings."""

    members: list[Uuid] = Field(min_length=1, max_length=handlers.MEMBERS_MAX)


class BackfillBody(Body):
    """POST /v1/affiliates/{id}/backfill: the members above `after`."""

    after: Uuid | None = None
    dry_run: StrictBool = False


@router.get("/v1/affiliates/{affiliate}/digests")
async def read_digests(
    ask: Ask,
    affiliate: str,
    salt: Salt,
    after: Reference = None,
    until: Reference = None,
    size: Annotated[int, Query(ge=1, le=SIZE_MAX)] = 1000,
    parts: Annotated[int, Query(ge=1, le=PARTS_MAX)] = 10,
) -> dict[str, Any]:
    """Return digests of the rows it must hold, range by range; salted, so that nobody can keep and compare them."""
    _own(ask, affiliate)
    return await handlers.digests(ask.consent, affiliate, after, until, size, parts, salt)


@router.get("/v1/affiliates/{affiliate}/holdings")
async def read_page(
    ask: Ask, affiliate: str, after: Reference = None, limit: Annotated[int, Query(ge=1, le=500)] = 200
) -> dict[str, Any]:
    """Return the records that make its store anew, member by member; sealed as on its topic."""
    _own(ask, affiliate)
    return await handlers.page(ask.consent, affiliate, after, limit)


@router.post("/v1/affiliates/{affiliate}/holdings")
async def read_members(ask: Ask, affiliate: str, body: MembersBody) -> dict[str, Any]:
    """Return the records of these members; changes nothing and needs no Idempotency-Key."""
    _own(ask, affiliate)
    return {"members": await handlers.of_members(ask.consent, affiliate, list(dict.fromkeys(body.members)))}


@router.get("/v1/affiliates/{affiliate}/unanswered")
async def read_unanswered(
    ask: Ask, affiliate: str, after: Reference = None, limit: Annotated[int, Query(ge=1, le=1000)] = 1000
) -> dict[str, Any]:
    """Return the changes it was told of and owes an answer, above the change `after`."""
    _own(ask, affiliate)
    return await handlers.unanswered(ask.consent, affiliate, after, limit)


@router.post("/v1/affiliates/{affiliate}/backfill")
async def backfill(ask: Ask, affiliate: str, body: BackfillBody) -> dict[str, Any]:
    """Give it what the next members are entitled to let it have; again, there is nothing left to give."""
    ask.require("service", "sre")
    return await entitle.entitle(ask.consent, affiliate, body.after, dry_run=body.dry_run)


def _own(ask: Asked, affiliate: str) -> None:
    """An affiliate asks about itself; those who run the system about all."""
    principal = ask.require("affiliate", "service", "sre")
    if not principal.has("service", "sre") and principal.sub != affiliate:
        raise forbidden()

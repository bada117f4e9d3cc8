"""Routes of what became of dead letters: repeating one changes nothing, so none needs an Idempotency-Key."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import StringConstraints

from services.consent.access import STAFF, Ask
from services.consent.bodies import Body, Reason
from services.consent.letters import handlers
from services.runtime.problem import Problem

router = APIRouter(tags=["dead letters"])
Topic = Annotated[str, StringConstraints(pattern=r"^dongui\.[a-z0-9.-]{1,80}$")]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class RedrivenBody(Body):
    """POST /v1/dead-letters/{id}/redriven: it is on its topic again."""

    topic: Topic
    code: Code


class DiscardBody(Body):
    """POST /v1/dead-letters/{id}/discard. The reason names no person."""

    topic: Topic
    code: Code
    reason: Reason


@router.get("/v1/dead-letters")
async def list_outcomes(ask: Ask) -> dict[str, Any]:
    """Return what became of letters that were handled; one that is not here is open."""
    ask.require("service", *STAFF)
    return await handlers.outcomes(ask.consent)


@router.post("/v1/dead-letters/{letter_id}/redriven")
async def redriven(ask: Ask, letter_id: str, body: RedrivenBody) -> dict[str, Any]:
    """Note that a letter was sent again; 409 when it was discarded."""
    by = ask.require("service", "sre").sub
    return await handlers.note(ask.consent, _uuid(letter_id), "redriven", body.model_dump(), by)


@router.post("/v1/dead-letters/{letter_id}/discard")
async def discard(ask: Ask, letter_id: str, body: DiscardBody) -> dict[str, Any]:
    """Give a letter up, for good."""
    by = ask.require("service", *STAFF).sub
    return await handlers.note(ask.consent, _uuid(letter_id), "discarded", body.model_dump(), by)


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise Problem(404, "letter_not_found", "그런 기록이 없습니다.", "There is no such record.") from error

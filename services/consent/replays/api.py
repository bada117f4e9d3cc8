"""Routes of replays: registered by who plans, approved by another person, reported by the executor, cancelled."""

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from schemas.base import Uuid
from services.consent.access import STAFF, Ask
from services.consent.bodies import Body, Reason, Storable
from services.consent.replays import handlers
from services.runtime.fields import Count

router = APIRouter(tags=["replays"])
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Place = Annotated[str, StringConstraints(max_length=100)]
SUMMARY_KEYS_MAX = 64


class PlanBody(Body):
    """POST /v1/replays. `reason` names no person; `summary` is counts, by affiliate."""

    replay_id: Uuid
    sha256: Sha256
    reason: Reason
    summary: Storable = Field(max_length=SUMMARY_KEYS_MAX)


class ApprovalBody(Body):
    """POST /v1/replays/{id}/approve: the plan that was read, by its hash."""

    sha256: Sha256


class ProgressBody(Body):
    """POST /v1/replays/{id}/progress. `positions` is where to go on: `affiliate/partition` to the next offset."""

    sha256: Sha256
    state: Literal["running", "completed", "failed"]
    done: Count
    total: Count
    positions: dict[Place, Count | Place] = Field(default_factory=dict, max_length=4096)


@router.get("/v1/replays")
async def list_replays(ask: Ask) -> dict[str, Any]:
    """Return the newest replays first."""
    ask.require("service", *STAFF)
    return await handlers.listed(ask.consent)


@router.post("/v1/replays", status_code=201)
async def plan(ask: Ask, body: PlanBody) -> dict[str, Any]:
    """Register a plan; needs no Idempotency-Key, the plan's id is one."""
    by = ask.require_confirmed("service", "sre", "cpo").sub
    return await handlers.plan(ask.consent, body.model_dump(), by)


@router.get("/v1/replays/{replay_id}")
async def read_replay(ask: Ask, replay_id: str) -> dict[str, Any]:
    """Return one replay with its progress."""
    ask.require("service", *STAFF)
    return await handlers.read(ask.consent, _uuid(replay_id))


@router.post("/v1/replays/{replay_id}/approve")
async def approve(ask: Ask, replay_id: str, body: ApprovalBody) -> dict[str, Any]:
    """Approve a plan that another person made; repeating it changes nothing."""
    by = ask.require_confirmed(*STAFF).sub
    return await handlers.approve(ask.consent, _uuid(replay_id), body.sha256, by)


@router.post("/v1/replays/{replay_id}/progress")
async def report(ask: Ask, replay_id: str, body: ProgressBody) -> dict[str, Any]:
    """Note how far it is; the answer's state says whether to go on."""
    by = ask.require("service", "sre").sub
    progress = body.model_dump(include={"done", "total", "positions"})
    return await handlers.report(ask.consent, _uuid(replay_id), body.sha256, body.state, progress, by)


@router.post("/v1/replays/{replay_id}/cancel")
async def cancel(ask: Ask, replay_id: str) -> dict[str, Any]:
    """Cancel a replay, whoever planned it; repeating it changes nothing."""
    by = ask.require("service", *STAFF).sub
    return await handlers.cancel(ask.consent, _uuid(replay_id), by)


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise handlers.not_found() from error

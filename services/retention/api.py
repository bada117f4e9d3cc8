"""The retention service's HTTP application: readings with a reason, holds, the schedule of destructions.

Compliance and the privacy officer read by reference or by e-mail; the consent service reads for a person whose
identity a rights request has established. Nobody else, and nothing without being recorded.
"""

import uuid
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from schemas.base import Uuid
from schemas.receipts import CodedValue
from services.keyring.kek import KekError
from services.retention import forecast, holds, readings, sweep
from services.retention.readings import Question, Vault
from services.runtime import problems
from services.runtime.auth import Authenticator, Principal
from services.runtime.bearer import principal_of
from services.runtime.fields import Day, DayCursor
from services.runtime.probes import Ready
from services.runtime.problem import Problem
from services.runtime.rates import Rates
from services.runtime.web import Api

OFFICERS: Final = ("compliance", "cpo")
RIGHTS: Final = "rights_reader"
"""The role of the consent service here: it reads for the person."""
UNSTORED: Final = {"Cache-Control": "no-store"}

router = APIRouter(tags=["retention"])


class SearchBody(BaseModel):
    """POST /v1/retention/searches: a body, for an e-mail belongs in no URL."""

    model_config = ConfigDict(extra="forbid")
    email: Annotated[str, StringConstraints(min_length=3, max_length=254)]
    reason: CodedValue


class HoldBody(BaseModel):
    """PUT /v1/retention/holds/{member_ref}."""

    model_config = ConfigDict(extra="forbid")
    reason: CodedValue = Field(description="A code or a file number; nobody's name")


async def vault_of(request: Request) -> Vault:
    """FastAPI dependency: the database and its keys."""
    vault: Vault = request.app.state.vault
    return vault


Asker = Annotated[Principal, Depends(principal_of)]
Kept = Annotated[Vault, Depends(vault_of)]


def _require(principal: Principal, *roles: str) -> None:
    if not principal.has(*roles):
        raise Problem(403, "forbidden", "보존 기록을 볼 권한이 없습니다.", "Your role may not read retained records.")


@router.get("/v1/retention/records")
async def read_records(
    who: Asker,
    vault: Kept,
    request: Request,
    response: Response,
    member_ref: Uuid,
    reason: Annotated[CodedValue, Query()],
) -> dict[str, Any]:
    """Return a former member's records. For the consent service `reason` is the id of the rights request."""
    _require(who, *OFFICERS, RIGHTS)
    purpose = "compliance" if who.has(*OFFICERS) else "rights"
    question = Question(purpose, reason, who.sub, member_ref=member_ref)
    return await _read(vault, question, request, response)


@router.post("/v1/retention/searches")
async def search(who: Asker, vault: Kept, request: Request, response: Response, body: SearchBody) -> dict[str, Any]:
    """Return the records whose party has this e-mail: how a former member, whose reference is gone, is found."""
    _require(who, *OFFICERS)
    question = Question("compliance", body.reason, who.sub, email=body.email)
    return await _read(vault, question, request, response)


async def _read(vault: Vault, question: Question, request: Request, response: Response) -> dict[str, Any]:
    found = await readings.read(vault, question)
    request.app.state.nudge()
    response.headers.update(UNSTORED)
    return found


@router.get("/v1/retention/schedule")
async def schedule(who: Asker, vault: Kept, until: Day, cursor: DayCursor = "") -> dict[str, Any]:
    """Return which records are to be destroyed by the end of a day (KST), earliest first. No content."""
    _require(who, "service", "auditor", *OFFICERS)
    return await readings.schedule(vault, until, cursor)


@router.get("/v1/retention/forecast")
async def read_forecast(who: Asker, vault: Kept, request: Request, as_of: Day, until: Day) -> dict[str, Any]:
    """Return what will be destroyed from a day to another (KST), here and in consent: counts, rules, daily series."""
    _require(who, "service", *OFFICERS)
    authorization = request.headers["authorization"]
    return await forecast.forecast(vault, request.app.state.consent_url, authorization, as_of, until)


@router.put("/v1/retention/holds/{member_ref}", status_code=204)
async def hold(who: Asker, vault: Kept, request: Request, member_ref: uuid.UUID, body: HoldBody) -> None:
    """Keep a member's records beyond their time, and pause the destruction in consent (a suit, an order)."""
    _require(who, *OFFICERS)
    await holds.put(vault, str(member_ref), body.reason, who.sub)
    request.app.state.nudge()


@router.delete("/v1/retention/holds/{member_ref}", status_code=204)
async def lift(who: Asker, vault: Kept, request: Request, member_ref: uuid.UUID) -> None:
    """Lift every hold on a member; what is over by then is destroyed at once, here and in consent."""
    _require(who, *OFFICERS)
    if not await holds.lift(vault, str(member_ref)):
        raise Problem(404, "not_held", "보류 중이 아닙니다.", "There is no hold.")
    await sweep.look(vault.pool, vault.clock())
    request.app.state.nudge()


def create(
    vault: Vault,
    authenticator: Authenticator,
    rates: Rates,
    ready: Ready,
    nudge: Callable[[], None],
    consent_url: str,
) -> Api:
    """Return the application. `ready` says which dependency answers, `nudge` wakes the relay."""
    app = Api(
        title="Dongui retention service",
        summary="What another law makes the company keep, apart from everything else.",
        authenticator=authenticator,
        rates=rates,
        ready=ready,
    )
    app.state.vault, app.state.nudge, app.state.consent_url = vault, nudge, consent_url
    app.add_exception_handler(KekError, _locked)
    app.include_router(router)
    return app


async def _locked(request: Request, _: Exception) -> JSONResponse:
    """The KEK is away or another: no content can be had, none is lost."""
    return problems.response(request, problems.unavailable())

"""Routes of the registers. Clause 3.3 is for compliance and the privacy officer alone: for all others it is 403."""

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from services.consent.access import OFFICERS, Ask, Write, send
from services.consent.registers import inquiries, investigations, policy_page, processors
from services.consent.registers.bodies import (
    CheckBody,
    FollowingPaperBody,
    InquiryAnswerBody,
    InquiryBody,
    InquiryToldBody,
    InvestigationBody,
    ProvisionBody,
    ReportBody,
)
from services.policy.investigations import HALF
from services.runtime.fields import Cursor
from services.runtime.problem import Problem

router = APIRouter(tags=["registers"])


@router.post("/v1/investigation-requests", status_code=201)
async def enter_request(ask: Write, body: InvestigationBody, response: Response) -> dict[str, Any]:
    """Enter an agency's request (3.3) and learn what the law lets be given of it."""
    by = ask.require(*OFFICERS).sub
    key = ask.key(body.model_dump(mode="json"), required=True)
    return send(response, await investigations.record(ask.consent, body, by, key))


@router.get("/v1/investigation-requests")
async def list_requests(ask: Ask, cursor: Cursor = 0) -> dict[str, Any]:
    """Return the register."""
    ask.require(*OFFICERS)
    return await investigations.listed(ask.consent, cursor)


@router.get("/v1/investigation-requests/{ref}")
async def read_request(ask: Ask, ref: str) -> dict[str, Any]:
    """Return one request."""
    ask.require(*OFFICERS)
    return await investigations.shown(ask.consent, _uuid(ref, investigations.investigation_not_found()))


@router.post("/v1/investigation-requests/{ref}/decide")
async def decide_request(ask: Write, ref: str, body: ProvisionBody, response: Response) -> dict[str, Any]:
    """Give some of what may be given, or nothing."""
    by = ask.require(*OFFICERS).sub
    key = ask.key(body.model_dump(mode="json"), required=True)
    canonical = _uuid(ref, investigations.investigation_not_found())
    return send(response, await investigations.decide(ask.consent, canonical, body, by, key))


@router.post("/v1/investigation-requests/{ref}/paper")
async def take_paper(ask: Write, ref: str, body: FollowingPaperBody, response: Response) -> dict[str, Any]:
    """Note the paper that followed an urgent provision."""
    ask.require(*OFFICERS)
    key = ask.key(body.model_dump(mode="json"), required=True)
    canonical = _uuid(ref, investigations.investigation_not_found())
    return send(response, await investigations.take_paper(ask.consent, canonical, body, key))


@router.get("/v1/investigation-reports")
async def read_report(ask: Ask, half: Annotated[str, Query(pattern=HALF)]) -> dict[str, Any]:
    """Return the figures of a half-year."""
    ask.require(*OFFICERS)
    return await investigations.report(ask.consent, half)


@router.post("/v1/investigation-reports", status_code=201)
async def file_report(ask: Write, body: ReportBody, response: Response) -> dict[str, Any]:
    """Note that the report of a half-year was filed."""
    by = ask.require(*OFFICERS).sub
    key = ask.key(body.model_dump(mode="json"), required=True)
    return send(response, await investigations.file_report(ask.consent, body, by, key))


@router.get("/v1/processors")
async def list_processors(ask: Ask) -> dict[str, Any]:
    """Return the processors as published (4.3), for anybody with a token."""
    return await processors.listed(ask.consent)


@router.post("/v1/processors/{processor}/checks", status_code=201)
async def check_processor(ask: Write, processor: str, body: CheckBody, response: Response) -> dict[str, Any]:
    """Note a check of a processor."""
    by = ask.require(*OFFICERS).sub
    key = ask.key(body.model_dump(mode="json"), required=True)
    return send(response, await processors.record_check(ask.consent, processor, body, by, key))


@router.post("/v1/inquiries", status_code=201)
async def inquire(ask: Write, body: InquiryBody, response: Response) -> dict[str, Any]:
    """Ask the privacy officer (10.2). A member asks in its own name."""
    principal = ask.require("service", "member", *OFFICERS)
    if body.member_ref is not None:
        ask.member(body.member_ref, staff=True)
    elif principal.has("member"):
        body = body.model_copy(update={"member_ref": ask.member(principal.sub)})
    key = ask.key(body.model_dump(mode="json"), required=True)
    return send(response, await inquiries.ask(ask.consent, body, key))


@router.get("/v1/inquiries")
async def list_inquiries(
    ask: Ask, state: Literal["open", "answered"] | None = None, cursor: Cursor = 0
) -> dict[str, Any]:
    """Return inquiries without their texts."""
    ask.require(*OFFICERS)
    return await inquiries.listed(ask.consent, state, cursor)


@router.get("/v1/inquiries/{ref}")
async def read_inquiry(ask: Ask, ref: str) -> dict[str, Any]:
    """Return one inquiry with its texts, to officers, which is recorded, and to who asked."""
    by = ask.require("service", "member", *OFFICERS)
    return await inquiries.read(ask.consent, _uuid(ref, inquiries.inquiry_not_found()), by)


@router.post("/v1/inquiries/{ref}/answer")
async def answer_inquiry(ask: Write, ref: str, body: InquiryAnswerBody, response: Response) -> dict[str, Any]:
    """Answer an inquiry."""
    by = ask.require(*OFFICERS).sub
    key = ask.key(body.model_dump(mode="json"), required=True)
    canonical = _uuid(ref, inquiries.inquiry_not_found())
    return send(response, await inquiries.answer(ask.consent, canonical, body, by, key))


@router.post("/v1/inquiries/{ref}/done")
async def tell_answer(ask: Write, ref: str, body: InquiryToldBody, response: Response) -> dict[str, Any]:
    """Record that the member was told the answer by letter, by telephone or in person: its clock ends."""
    ask.require(*OFFICERS)
    key = ask.key(body.model_dump(mode="json"), required=True)
    canonical = _uuid(ref, inquiries.inquiry_not_found())
    return send(response, await inquiries.tell(ask.consent, canonical, body, key))


@router.get("/v1/policy")
async def list_policies(ask: Ask) -> dict[str, Any]:
    """Return the versions of the policy (12), the one in force named."""
    return policy_page.listed(ask.consent.clock())


@router.get("/v1/policy/{version}")
async def read_policy(ask: Ask, version: str) -> dict[str, Any]:
    """Return what a version says of the privacy officer (10), remedies (11), cookies (9) and unused accounts (2.2)."""
    return policy_page.shown(version, ask.consent.clock())


def _uuid(text: str, otherwise: Problem) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise otherwise from error

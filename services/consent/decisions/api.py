"""Routes of decisions at any past instant, of consent notices by version, of re-consent, and of who was affected."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from services.consent.access import READERS, Ask, Asked
from services.consent.decisions import handlers, notices, questions, reconsent
from services.consent.handlers import Consent
from services.consent.refusals import forbidden, not_found
from services.policy.shapes import Locale

router = APIRouter(tags=["decisions"])
Word = Annotated[str, Query(max_length=80)]
Text = Annotated[str | None, Query(max_length=80)]


@router.get("/v1/decisions")
async def decide(
    ask: Ask,
    recipient: Word,
    purpose: Word,
    member_ref: Word,
    item: Text = None,
    channel: Text = None,
    at: Text = None,
) -> dict[str, Any]:
    """Say whether a recipient may use an item of a member for a purpose at an instant, by which rule and evidence."""
    asked_at = questions.instant(at, "at", ask.consent.clock())
    question = questions.question(ask.consent.rules, recipient, purpose, item, channel, asked_at)
    ref, outsider = _may_ask(ask, member_ref, recipient)
    return await handlers.decided(ask.consent, ref, question, outsider=outsider)


def _may_ask(ask: Asked, ref: str, recipient: str) -> tuple[str, bool]:
    """Members ask about themselves, affiliates about what they may do; the service and staff about all."""
    principal = ask.principal
    if principal.has("affiliate") and not principal.has("service", *READERS):
        if principal.sub != recipient:
            raise forbidden()
        return questions.reference(ref, not_found()), True
    return ask.member(ref, staff=True), False


@router.get("/v1/members/{ref}/as-of")
async def as_of(ask: Ask, ref: str, at: Text = None) -> dict[str, Any]:
    """Return how a member was at an instant: status, live consents, services, what had been given to whom. No value."""
    asked_at = questions.instant(at, "at", ask.consent.clock())
    return await handlers.looked(ask.consent, ask.member(ref, staff=True), asked_at)


@router.get("/v1/members/{ref}/reconsents")
async def reconsents(ask: Ask, ref: str) -> dict[str, Any]:
    """Return the consents to ask for again, because the notice tells something else now."""
    return await handlers.asked_again(ask.consent, ask.member(ref, staff=True))


@router.get("/v1/reconsents")
async def list_reconsents(ask: Ask, cursor: Text = None) -> dict[str, Any]:
    """Return how many members are to be asked again for what, and who, 200 a page; for staff."""
    ask.require(*READERS)
    return await reconsent.overview(ask.consent, questions.cursor(cursor))


@router.get("/v1/affected")
async def affected(
    ask: Ask,
    since: Annotated[str, Query(alias="from", max_length=80)],
    until: Annotated[str | None, Query(alias="to", max_length=80)] = None,
    recipient: Text = None,
    item: Text = None,
    cursor: Text = None,
) -> dict[str, Any]:
    """Return the members whose data was given to or held by a recipient in a window, 200 a page; for staff."""
    ask.require(*READERS)
    now = ask.consent.clock()
    start, end = questions.instant(since, "from", now), questions.instant(until, "to", now)
    questions.window(start, end)
    questions.recipient_and_item(ask.consent.rules, recipient, item)
    return await handlers.affected(ask.consent, start, end, recipient, item, questions.cursor(cursor))


@router.get("/v1/consent-notices")
async def list_notices(request: Request) -> dict[str, Any]:
    """Return every version of the notice with its hashes, the one in force marked. Open to all, as the policy is."""
    consent: Consent = request.app.state.consent
    return notices.listed(consent.rules, consent.clock())


@router.get("/v1/consent-notices/{version}")
async def read_notice(request: Request, version: str, locale: Locale = "ko") -> dict[str, Any]:
    """Return one version as it was shown, and its scope as data; old versions stay readable (clause 12)."""
    consent: Consent = request.app.state.consent
    return notices.shown(consent.rules, version, locale, consent.clock())

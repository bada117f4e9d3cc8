"""Routes of members: sign-up, reading, correction, consents, withdrawal."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Response

from services.consent import handlers, masking, reveals, store
from services.consent.access import OFFICERS, Ask, Asked, Write, send
from services.consent.bodies import ConsentBody, CorrectionBody, SignUpBody
from services.consent.guardians import handlers as guardians
from services.consent.reveals import Look, RevealBody, SearchBody
from services.policy.model import Rules
from services.policy.scope import part_of, provider_of

router = APIRouter(tags=["members"])
IfMatch = Annotated[str | None, Header(alias="If-Match", description="Required: the member's ETag")]


@router.post("/v1/members", status_code=201)
async def sign_up(ask: Write, body: SignUpBody, response: Response) -> dict[str, Any]:
    """Sign a member up with the consents given (clauses 1.2, 3.2, 1.5)."""
    ask.require("service")
    key = ask.key(body.model_dump(mode="json"), required=True)
    return send(response, await handlers.sign_up(ask.consent, body, ask.caller(), key))


@router.get("/v1/members/{ref}")
async def read(ask: Ask, ref: str, response: Response) -> dict[str, Any]:
    """Return the member, its profiles and its live consents; to staff with every value masked."""
    canonical = ask.member(ref, staff=True)
    shown, seq = await _shown(ask, canonical)
    response.headers["ETag"] = handlers.etag_of(seq)
    return shown if ask.principal.has("service", "member") else masking.member(shown)


@router.post("/v1/members/{ref}/reveals")
async def reveal(ask: Ask, ref: str, body: RevealBody, response: Response) -> dict[str, Any]:
    """Show an officer the values, for a reason; the audit log has who looked, from where and why."""
    by = ask.require(*OFFICERS)
    canonical = ask.member(ref, staff=True)
    await reveals.revealed(ask.consent, canonical, Look(by, body.reason, body.reference))
    response.headers["Cache-Control"] = "no-store"
    return (await _shown(ask, canonical))[0]


@router.post("/v1/members/searches")
async def search(ask: Ask, body: SearchBody) -> dict[str, str]:
    """Find a member by e-mail, for a reason that the audit log keeps."""
    by = ask.require(*OFFICERS)
    return {"member_ref": await reveals.found(ask.consent, body.email, Look(by, body.reason, body.reference))}


async def _shown(ask: Asked, canonical: str) -> tuple[dict[str, Any], int]:
    found = await store.snapshot(ask.consent.pool, canonical)
    if found is None:
        raise handlers.not_found()
    loaded, consents = found
    member = loaded.member
    return {
        "member_ref": canonical,
        "seq": member.seq,
        "status": member.standing,
        "email": member.email,
        "name": member.name,
        "profiles": [{"service": p.service, "role": p.role, **p.items} for p in member.profiles.values()],
        "collected_via": member.collected_via,
        "grants": [_grant(ask.consent.rules, c) for c in consents],
        **({"suspended": sorted(member.suspended)} if member.suspended else {}),
    }, member.seq


def _grant(rules: Rules, consent: dict[str, Any]) -> dict[str, Any]:
    """One live consent with its scope: what the notice it cites told, and no more."""
    party = {"sharing": "recipient", "marketing": "sender"}.get(consent["purpose"])
    shown = {
        "purpose": consent["purpose"],
        "notice_version": consent["notice_version"],
        "given_at": consent["given_at"],
    }
    if party:
        shown[party] = consent["party"]
    if party == "recipient":
        shown |= {"provider": provider_of(rules), "role": "recipient"}
    if consent["channel"]:
        shown["channel"] = consent["channel"]
    part = part_of(rules, consent["notice_version"], consent["purpose"])
    scope = {"purposes": sorted(part.purposes), "items": sorted(part.items), "period": part.period} if part else {}
    return shown | scope


@router.patch("/v1/members/{ref}")
async def correct(
    ask: Write,
    ref: str,
    body: CorrectionBody,
    response: Response,
    if_match: IfMatch = None,
) -> dict[str, Any]:
    """Correct items (5.1); every holder of one follows (3.2, 4.3) and third parties are told (5.7)."""
    canonical = ask.member(ref)
    key = ask.key(body.model_dump(mode="json", exclude_unset=True), required=False)
    return send(response, await handlers.correct(ask.consent, canonical, body, if_match, ask.caller(), key))


@router.put("/v1/members/{ref}/consents/{purpose}")
async def change_consent(
    ask: Write,
    ref: str,
    purpose: Literal["collection", "sharing", "marketing"],
    body: ConsentBody,
    response: Response,
    if_match: IfMatch = None,
) -> dict[str, Any]:
    """Give or take back a consent; `collection` can only be given anew. A guardian's: by who verified it, no child."""
    if body.guardian is not None:
        ask.require("service", *OFFICERS)
    canonical = ask.member(ref, staff=body.guardian is not None)
    key = ask.key(body.model_dump(mode="json"), required=False)
    verb = handlers.change_consent if body.guardian is None else guardians.consent_for
    return send(response, await verb(ask.consent, canonical, purpose, body, if_match, ask.caller(), key))


@router.post("/v1/members/{ref}/withdrawal", status_code=202)
async def request_withdrawal(ask: Write, ref: str, response: Response) -> dict[str, Any]:
    """Ask to leave: nothing new is shared from here on."""
    canonical = ask.member(ref)
    key = ask.key(None, required=True)
    return send(response, await handlers.request_withdrawal(ask.consent, canonical, ask.caller(), key))


@router.post("/v1/members/{ref}/withdrawal/confirm")
async def confirm_withdrawal(ask: Write, ref: str, response: Response) -> dict[str, Any]:
    """Leave: values go from every store."""
    canonical = ask.member(ref)
    key = ask.key(None, required=True)
    return send(response, await handlers.confirm_withdrawal(ask.consent, canonical, ask.caller(), key))


@router.post("/v1/members/{ref}/withdrawal/cancel")
async def cancel_withdrawal(ask: Write, ref: str, response: Response) -> dict[str, Any]:
    """Stay after all."""
    canonical = ask.member(ref)
    key = ask.key(None, required=True)
    return send(response, await handlers.cancel_withdrawal(ask.consent, canonical, ask.caller(), key))

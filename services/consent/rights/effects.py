"""What a request does to its member, through the one way a member changes, in the request's own transaction."""

from collections.abc import Callable
from dataclasses import replace

import orjson

from services.consent import model as members
from services.consent import profiles, sealing
from services.consent.handlers import Caller, Consent, change_within
from services.consent.model import ENDED, Member, Step
from services.consent.rights import refusals, scope, steps, store
from services.consent.rights.bodies import ChangesBody
from services.consent.rights.model import Effect, Request, actor_of, standing
from services.policy.rights import catalogue
from services.runtime.postgres import Connection

CHANGES_LABEL = "rights-changes"
DELETION_REQUEST = "deletion_request"
"""Note of a withdrawal that answers a request to delete everything: its destruction needs a second person (7.3)."""


async def apply(
    consent: Consent, tx: Connection, request: Request, effect: Effect, by: str, sealed: bytes | None
) -> tuple[Request, list[str]]:
    """Bring an effect about; return the request and the ids of the changes, none where there is nothing to change.

    The fact names who asked and by which channel. Raises Problem 409 where the member's state does not allow it.
    """
    member = await store.locked_member(tx, request.member_ref)
    if request.type == "suspension":
        todo = _suspension(request, effect, member, await store.other_parts(tx, request))
    else:
        todo = await _steps(consent, request, effect, member, sealed)
    caller = Caller(by, actor_of(catalogue(), request), request.channel)
    done = [await change_within(consent, tx, request.member_ref, step, caller) for step in todo]
    if effect == "suspend" and not done:
        standing = request.items is not None and request.items <= member.suspended
        request = replace(request, suspends=standing)
    return request, [context.change_id for _, context in done]


async def _steps(
    consent: Consent, request: Request, effect: Effect, member: Member, sealed: bytes | None
) -> list[Callable[[Member], Step]]:
    if effect == "correct":
        correction = await _correction(consent, request, sealed)
        grown = steps.shows_of_age(member, correction(member), consent.clock())
        return [correction, steps.of_age] if grown else [correction]
    return [] if member.status in ENDED else _deletion(consent, request, member)


def _suspension(
    request: Request, effect: Effect, member: Member, others: frozenset[str]
) -> list[Callable[[Member], Step]]:
    """`others`: what other requests of this member keep suspended in part.

    A part that is let go while everything is suspended changes nothing yet: it is lifted with the whole (37(2)).
    """
    if member.status in ENDED:
        return []
    whole = steps.is_suspended(member)
    if request.items is None and request.outcome != "partial":
        wanted = steps.suspend if effect == "suspend" else lambda m: steps.release(m, others)
        return [] if whole == (effect == "suspend") else [wanted]
    if effect == "suspend":
        parts = request.items or frozenset()
        return [] if parts <= member.suspended else [lambda m: steps.suspend_part(m, parts)]
    keep = others | ((standing(request) or frozenset()) if effect == "narrow" else frozenset())
    if request.items is None and effect == "narrow":
        return [lambda m: steps.narrow(m, keep)] if whole else []
    return [] if whole or member.suspended == keep else [lambda m: steps.release_part(m, keep)]


async def _correction(consent: Consent, request: Request, sealed: bytes | None) -> Callable[[Member], Step]:
    """As a PATCH by the member would: the same checks, the same change; and the age gate, for a birth date."""
    assert sealed is not None  # the intake refuses a correction without changes
    data_key = await store.data_key(consent.keyring, request.member_ref)
    plain = sealing.unseal(data_key, request.member_ref, f"{CHANGES_LABEL}/{request.id}", sealed)
    body = scope.only(ChangesBody.model_validate(orjson.loads(plain)), request.granted)
    at = consent.clock()

    def step(member: Member) -> Step:
        wanted = profiles.validated(consent.rules, member.profiles, body.profiles or [])
        return steps.age_gate(members.correct(member, **scope.account(body), profiles=wanted), at)

    return step


def _deletion(consent: Consent, request: Request, member: Member) -> list[Callable[[Member], Step]]:
    """Some items are cleared; all of them is leaving: request and confirmation at once."""
    at = consent.clock()
    if request.granted is None:  # as `Move.selects` says
        ask = [] if members.withdrawal_pending(member) else [lambda m: members.request_withdrawal(m, at)]
        return [*ask, lambda m: replace(members.confirm_withdrawal(m, at), note=DELETION_REQUEST)]
    items = request.granted
    if kept := steps.not_deletable(consent.rules, member, items, at):
        raise refusals.not_deletable(kept)
    return [lambda m: steps.delete_items(m, items)]

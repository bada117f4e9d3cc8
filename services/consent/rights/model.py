"""Pure: one rights request and what each command makes of it. No I/O, no clock.

A command gives a `Move`: the request after, and what must now happen to the member. No effect before the identity
of the person (and of an agent) is sure (5.6); a suspension takes effect at that moment, before it is decided.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from schemas.base import ActorKind, Channel
from services.consent.rights import refusals
from services.policy.rights import Catalogue, Ground, TypeId

State = Literal["received", "verified", "deferred", "decided", "done", "released", "withdrawn"]
Outcome = Literal["granted", "partial", "refused"]
Effect = Literal["suspend", "release", "narrow", "correct", "delete"]
"""`narrow`: a suspension stays for what is granted, the rest of it is lifted."""
OPEN: frozenset[State] = frozenset({"received", "verified", "deferred"})
TO_DO: frozenset[State] = OPEN | {"decided"}
"""In these the person still waits: for the decision, or to be told it."""


@dataclass(frozen=True)
class Agent:
    """Who acts for the person, by which document, for which types."""

    kind: str
    document: str
    scope: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """The state of one request. `items` None means all; `suspends` that its suspension stands now.

    Of a suspension the items may be purposes too; of a correction they are those that it changes.
    """

    id: str
    member_ref: str
    type: TypeId
    channel: Channel
    received_at: datetime
    state: State = "received"
    items: frozenset[str] | None = None
    agent: Agent | None = None
    verified_at: datetime | None = None
    deferral: str | None = None
    deferred_at: datetime | None = None
    reason_ended_at: datetime | None = None
    outcome: Outcome | None = None
    ground: str | None = None
    statute: str | None = None
    granted: frozenset[str] | None = None
    decided_at: datetime | None = None
    suspends: bool = False
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Decision:
    """What staff decided; `items` are the items granted by a partial answer, the rest of those asked is refused."""

    outcome: Outcome
    ground: str | None = None
    statute: str | None = None
    items: frozenset[str] | None = None


@dataclass(frozen=True)
class Facts:
    """What a decision depends on besides the request: the items there are, and whether the person is leaving."""

    present: frozenset[str]
    withdrawing: bool = False


@dataclass(frozen=True)
class Move:
    """A command's result: the request after, and the effect on the member that must follow in the same transaction."""

    request: Request
    effect: Effect | None = None

    @property
    def selects(self) -> bool:
        """Whether it ends the membership and so selects the member for destruction, which takes two persons (7.3)."""
        return self.effect == "delete" and self.request.granted is None


def actor_of(catalogue: Catalogue, request: Request) -> ActorKind:
    """Return who asked, as a fact names it: the member, an agent, a guardian."""
    return catalogue.agents[request.agent.kind].actor if request.agent else "member"


def check_agent(catalogue: Catalogue, type_: TypeId, agent: Agent, *, minor: bool) -> None:
    """Raise Problem 422 without the document of this agency, or when the mandate is not for this type (5.3)."""
    kind = catalogue.agents[agent.kind]
    if not kind.accepts(agent.document, minor=minor):
        raise refusals.mandate_required(sorted(kind.documents))
    if (kind.scoped or agent.scope) and type_ not in agent.scope:
        raise refusals.scope_excludes_type()


def verify(request: Request, at: datetime, *, of_agent: bool) -> Move:
    """The identity is established; for an agent that takes both persons. A suspension starts now."""
    _require_state(request, {"received"})
    if request.agent is not None and not of_agent:
        raise refusals.agent_check_required()
    suspends = request.type == "suspension"
    after = replace(request, state="verified", verified_at=at, suspends=suspends)
    return Move(after, "suspend" if suspends else None)


def defer(catalogue: Catalogue, request: Request, reason: str, at: datetime) -> Move:
    """Put an access off for a proper reason (35(3)), once; nothing else can be put off.

    When the reason has ended the law says "without delay": there is no second deferral, and so no clock to start anew.
    """
    if not catalogue.types[request.type].defer:
        raise refusals.deferral_not_offered()
    if reason not in catalogue.deferrals:
        raise refusals.unknown_code("deferral_reason_unknown", "/reason", sorted(catalogue.deferrals))
    _require_verified(request)
    _require_state(request, {"verified"})
    if request.deferral is not None:
        raise refusals.already_deferred()
    return Move(replace(request, state="deferred", deferral=reason, deferred_at=at))


def resume(request: Request, ended_at: datetime) -> Move:
    """The reason of a deferral has ended: from then on without delay."""
    _require_state(request, {"deferred"})
    if request.deferred_at is not None and ended_at < request.deferred_at:
        raise refusals.ended_before_deferral()
    return Move(replace(request, state="verified", reason_ended_at=ended_at))


def decide(catalogue: Catalogue, request: Request, decision: Decision, facts: Facts, at: datetime) -> Move:
    """Answer a request. Raises Problem 409 for the wrong state, 422 for what the law does not offer."""
    _require_state(request, OPEN)
    refused = _refused_items(catalogue, request, decision, facts)
    _check_ground(catalogue, request, decision, refused, facts)
    after = replace(
        request,
        state="decided",
        outcome=decision.outcome,
        ground=decision.ground,
        statute=decision.statute,
        granted=_granted(request, decision),
        decided_at=at,
        suspends=request.suspends and decision.outcome != "refused",
    )
    return Move(after, _effect(request, decision))


def withdraw(request: Request, at: datetime) -> Move:
    """The person takes the request back; a suspension that came with it ends."""
    _require_state(request, OPEN)
    after = replace(request, state="withdrawn", suspends=False, ended_at=at)
    return Move(after, "release" if request.suspends else None)


def release(request: Request, at: datetime) -> Move:
    """The person wants a granted suspension lifted."""
    if request.type != "suspension" or not request.suspends:
        raise refusals.nothing_to_release()
    _require_state(request, {"decided", "done"})
    return Move(replace(request, state="released", suspends=False, ended_at=at), "release")


def tell(request: Request, at: datetime) -> Move:
    """The person has been told: the result, and the request is done; or the deferral, and it stays put off."""
    _require_state(request, {"decided", "deferred"})
    if request.state == "deferred":
        return Move(request)
    return Move(replace(request, state="done", ended_at=at))


def withheld(request: Request, present: Collection[str]) -> frozenset[str]:
    """Return the items asked for and not granted."""
    asked = frozenset(present) if request.items is None else request.items
    if request.outcome == "partial":
        return asked - (request.granted or frozenset())
    return asked if request.outcome == "refused" else frozenset()


def standing(request: Request) -> frozenset[str] | None:
    """Return what a suspension that stands is of; None for everything."""
    return request.granted if request.outcome == "partial" else request.items


def _effect(request: Request, decision: Decision) -> Effect | None:
    if request.type == "suspension":
        effects: dict[Outcome, Effect] = {"refused": "release", "partial": "narrow"}
        return effects.get(decision.outcome) if request.suspends else None
    if decision.outcome == "refused" or request.type == "access":
        return None
    return "correct" if request.type == "correction" else "delete"


def _granted(request: Request, decision: Decision) -> frozenset[str] | None:
    if decision.outcome == "refused":
        return frozenset()
    return decision.items if decision.outcome == "partial" else request.items


def _refused_items(catalogue: Catalogue, request: Request, decision: Decision, facts: Facts) -> frozenset[str]:
    asked = facts.present if request.items is None else request.items
    if decision.outcome != "partial":
        if decision.items is not None:
            raise refusals.items_only_in_part()
        return asked if decision.outcome == "refused" else frozenset()
    if not catalogue.types[request.type].partial:
        raise refusals.part_not_offered()
    if request.type == "deletion" and request.items is None:
        raise refusals.whole_account_has_no_part()
    if not decision.items or not decision.items < asked:
        raise refusals.not_a_part(sorted(asked))
    return asked - decision.items


def _check_ground(
    catalogue: Catalogue, request: Request, decision: Decision, refused: frozenset[str], facts: Facts
) -> None:
    if decision.outcome == "granted":
        _require_verified(request)
        if decision.ground or decision.statute:
            raise refusals.ground_not_expected()
        return
    ground = _ground(catalogue, request, decision)
    if ground.not_while_withdrawing and facts.withdrawing:
        raise refusals.ground_contradicted()
    _check_statute(catalogue, ground, decision.statute, refused)


def _ground(catalogue: Catalogue, request: Request, decision: Decision) -> Ground:
    """Return the ground, which must be one for this type and this moment: identity first, everything else after."""
    found = catalogue.grounds.get((request.type, decision.ground or ""))
    if found is not None and found.before_verification:
        if request.verified_at is not None or decision.outcome == "partial":
            raise refusals.ground_contradicted()
        return found
    _require_verified(request)
    offered = catalogue.offered(request.type)
    if decision.ground is None:
        raise refusals.ground_required(offered)
    if found is None or not found.offered:
        raise refusals.ground_not_offered(offered)
    return found


def _check_statute(catalogue: Catalogue, ground: Ground, statute: str | None, refused: frozenset[str]) -> None:
    if statute is None:
        if ground.needs_statute:
            raise refusals.statute_required(sorted(catalogue.statutes))
        return
    found = catalogue.statutes.get(statute)
    if found is None:
        raise refusals.unknown_code("statute_unknown", "/statute", sorted(catalogue.statutes))
    if ground.needs_statute and not all(found.names(item) for item in refused):
        raise refusals.statute_does_not_name(sorted(item for item in refused if not found.names(item)))


def _require_verified(request: Request) -> None:
    if request.verified_at is None:
        raise refusals.identity_not_verified()


def _require_state(request: Request, allowed: Collection[str]) -> None:
    if request.state not in allowed:
        raise refusals.wrong_state(request.state)

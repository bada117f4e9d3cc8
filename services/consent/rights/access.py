"""Who may ask, decide and see: staff everything, a member its own, an affiliate and its people what arrived there."""

from dataclasses import dataclass

import asyncpg

from schemas.base import ActorKind
from services.consent.access import AFFILIATE_DESK, Asked
from services.consent.model import Member
from services.consent.refusals import not_found
from services.consent.rights import refusals

HANDLERS = ("service", "compliance", "cpo")


@dataclass(frozen=True)
class Who:
    """The caller of a route: `kind` for the evidence; `member` or `affiliate` where that is all it may see."""

    sub: str
    kind: ActorKind
    member: str | None = None
    affiliate: str | None = None
    unconfirmed: bool = False
    """Whether one other person alone answers for who uses the account: it selects nobody for destruction."""

    @property
    def handles(self) -> bool:
        """Whether this is staff, or a service that acts for it."""
        return self.member is None and self.affiliate is None

    def check(self, row: asyncpg.Record) -> None:
        """Raise Problem 404 for a request the caller may not see."""
        own = self.member is not None and row["member_ref"] == self.member
        taken = self.affiliate is not None and row["received_by"] == self.affiliate
        if not (self.handles or own or taken):
            raise refusals.unknown_request()

    def check_subject(self, member: Member) -> None:
        """Raise Problem 404 for a member the caller has nothing to do with."""
        own = self.member == member.member_ref
        held = self.affiliate in member.held and bool(member.held[self.affiliate].roles) if self.affiliate else False
        if not (self.handles or own or held):
            raise not_found()


def anyone(ask: Asked) -> Who:
    """Return the caller; 403 for a role that has no part in rights requests."""
    principal = ask.require(*HANDLERS, "member", "affiliate", AFFILIATE_DESK)
    if principal.has(*HANDLERS):
        kind: ActorKind = "service" if principal.has("service") else "staff"
        return Who(principal.sub, kind, unconfirmed=principal.unconfirmed)
    if principal.has("member"):
        return Who(principal.sub, "member", member=principal.sub)
    return Who(principal.sub, "service", affiliate=principal.sub)


def reader(ask: Asked) -> Who:
    """Return the caller of a reading route: those of `anyone`, and an auditor, who sees every request."""
    if ask.principal.has("auditor"):
        return Who(ask.principal.sub, "staff")
    return anyone(ask)


def person(ask: Asked) -> Who:
    """Return the caller when it handles requests or is a member; 403 for an affiliate."""
    ask.require(*HANDLERS, "member")
    return anyone(ask)


def handler(ask: Asked) -> Who:
    """Return the caller when it handles requests; 403 otherwise."""
    ask.require(*HANDLERS)
    return anyone(ask)


__all__ = ["HANDLERS", "Who", "anyone", "handler", "person", "reader"]

"""Pure: what the append-only tables say of one member, and how it looked at an instant. Names and ids, no values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.base import MemberStatus


@dataclass(frozen=True)
class Grant:
    """One consent given, with its evidence; `ended_at` None while it lives."""

    consent_id: int
    purpose: str
    party: str
    channel: str
    notice_version: str
    notice_hash: str
    collected_via: str
    actor: str
    change_id: str
    given_at: datetime
    ended_at: datetime | None = None
    ended_by: str | None = None

    def names(self, purpose: str, party: str, channel: str) -> bool:
        """Say whether it is the consent to this."""
        return (self.purpose, self.party, self.channel) == (purpose, party, channel)

    def live_at(self, at: datetime) -> bool:
        """Say whether it holds: from the instant it was given on, no longer from the one it ended on."""
        return self.given_at <= at and (self.ended_at is None or at < self.ended_at)

    def evidence(self, *, ended: bool = False) -> dict[str, Any]:
        """Return it as evidence; its end only where that is the point, so that an answer stays the same for ever."""
        names = ("purpose", "party", "channel", "notice_version", "notice_hash", "given_at", "collected_via", "actor")
        told = {name: getattr(self, name) for name in names}
        end = {"ended_at": self.ended_at, "ended_by": self.ended_by} if ended else {}
        return {"kind": "grant", "id": self.consent_id, "change_id": self.change_id, **told, **end}


@dataclass(frozen=True)
class StatusSpan:
    """A status and the change that began it."""

    status: MemberStatus
    since: datetime
    change_id: str

    def evidence(self) -> dict[str, Any]:
        """Return it as evidence."""
        return {"kind": "status", "status": self.status, "since": self.since, "change_id": self.change_id}


@dataclass(frozen=True)
class PartsSpan:
    """What is suspended in part from an instant on: items and purposes, none once all is lifted."""

    parts: frozenset[str]
    since: datetime
    change_id: str

    def evidence(self) -> dict[str, Any]:
        """Return it as evidence."""
        told = {"suspended": sorted(self.parts), "since": self.since, "change_id": self.change_id}
        return {"kind": "suspension_in_part", **told}


@dataclass(frozen=True)
class ProfileSpan:
    """A member's role in a service from an instant on, with the names of the items; role None: not used any more."""

    service: str
    role: str | None
    items: tuple[str, ...]
    collected_via: str
    change_id: str
    at: datetime

    def evidence(self) -> dict[str, Any]:
        """Return it as evidence."""
        told = {"service": self.service, "role": self.role, "items": list(self.items)}
        return {
            "kind": "processor",
            **told,
            "since": self.at,
            "collected_via": self.collected_via,
            "change_id": self.change_id,
        }


@dataclass(frozen=True)
class Given:
    """One row of the disclosure ledger."""

    disclosure_id: str
    recipient: str
    role: str
    items: frozenset[str]
    purpose: str
    basis: str
    at: datetime

    def evidence(self) -> dict[str, Any]:
        """Return it as evidence."""
        told = {"purpose": self.purpose, "basis": self.basis, "items": sorted(self.items), "at": self.at}
        return {"kind": "disclosure", "id": self.disclosure_id, **told}


@dataclass(frozen=True)
class UsedProfile:
    """A role that a member really has at an instant."""

    service: str
    role: str
    span: ProfileSpan

    def evidence(self) -> dict[str, Any]:
        """Return it as evidence."""
        return self.span.evidence()


@dataclass(frozen=True)
class History:
    """Everything about one member that an answer may rest on. Each tuple is in order of writing."""

    signed_up_at: datetime
    statuses: tuple[StatusSpan, ...] = ()
    grants: tuple[Grant, ...] = ()
    profiles: tuple[ProfileSpan, ...] = ()
    ledger: tuple[Given, ...] = ()
    checks: tuple[tuple[int, datetime], ...] = ()
    """(consent_id, instant) of each two-year check done"""
    parts: tuple[PartsSpan, ...] = ()

    def parts_at(self, at: datetime) -> PartsSpan | None:
        """Return what was suspended in part at an instant; None for nothing."""
        begun = [span for span in self.parts if span.since <= at]
        return begun[-1] if begun and begun[-1].parts else None

    def status_at(self, at: datetime) -> StatusSpan | None:
        """Return the status at an instant; None before the member was one.

        An imported member was one before it came in here: its first status begins with its sign-up.
        """
        if at < self.signed_up_at or not self.statuses:
            return None
        begun = [s for s in self.statuses if s.since <= at]
        first = self.statuses[0]
        return begun[-1] if begun else StatusSpan(first.status, self.signed_up_at, first.change_id)

    def profiles_at(self, at: datetime) -> tuple[UsedProfile, ...]:
        """Return the roles the member has in services at an instant."""
        return tuple(self._used(at))

    def _used(self, at: datetime) -> Iterator[UsedProfile]:
        latest: Mapping[str, ProfileSpan] = {p.service: p for p in self.profiles if p.at <= at}
        for service, span in sorted(latest.items()):
            if span.role is not None:
                yield UsedProfile(service, span.role, span)

    def profile_at(self, service: str, at: datetime) -> UsedProfile | None:
        """Return the role in one service at an instant."""
        return next((p for p in self._used(at) if p.service == service), None)

    def given_to(self, recipient: str, at: datetime) -> tuple[Given, ...]:
        """Return what a recipient had been given by an instant."""
        return tuple(g for g in self.ledger if g.recipient == recipient and g.at <= at)

    def last_ended(self, purpose: str, party: str, channel: str, at: datetime) -> Grant | None:
        """Return the consent to this that ended last before an instant."""
        ended = [g for g in self.grants if g.names(purpose, party, channel) and g.ended_at and g.ended_at <= at]
        return ended[-1] if ended else None

    def checks_of(self, consent_id: int, at: datetime) -> int:
        """Return how many two-year checks of a consent were done by an instant."""
        return sum(1 for found, done_at in self.checks if found == consent_id and done_at <= at)

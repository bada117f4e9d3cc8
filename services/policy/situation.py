"""What `decide` is asked and what it answers: plain values, no behaviour besides looking things up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from schemas.base import Marketing, MemberStatus, Role
from schemas.events import FactName, StopName


@dataclass(frozen=True)
class Held:
    """What an affiliate has now: rows by role, marketing instruction, the last seq sent to it."""

    roles: frozenset[str] = frozenset()
    marketing: Marketing | None = None
    prev: int = 0


@dataclass(frozen=True)
class LedgerEntry:
    """That a recipient was given an item; `stale` when the value it was given last is no longer the member's.

    `bases` are those on which it was given; without one it is told of a correction, and not the value.
    """

    recipient: str
    kind: str
    item: str
    stale: bool
    bases: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Situation:
    """The member after the change, as far as policy looks at it. No values.

    `profiles` are (service, role); `sharing` the affiliates with a live grant; `marketing` the consents per sender;
    `held` what each affiliate has, with an entry for each that ever had anything; `at` the instant of the change;
    `suspended` the items and purposes whose processing is suspended in part; `in_force` the status that a request to
    leave stands over and does not lift, where it is another.
    """

    status: MemberStatus
    profiles: tuple[tuple[str, str], ...]
    sharing: frozenset[str]
    marketing: Mapping[str, Marketing]
    held: Mapping[str, Held]
    ledger: tuple[LedgerEntry, ...]
    at: datetime
    suspended: frozenset[str] = frozenset()
    in_force: MemberStatus | None = None

    @property
    def waits(self) -> bool:
        """Say whether the member waits for a guardian, also under a request to leave: nobody may have anything."""
        return (self.in_force or self.status) == "pending_guardian"


@dataclass(frozen=True)
class Change:
    """What happened: the fact's name and the items whose value differs (`email`, `hypermeeting.phone`)."""

    name: FactName
    items: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Project:
    """Send the full state. `roles` are all that the affiliate has after it, `items` all it may be given.

    `suspended`: of those items, and of the purposes, what is suspended in part.
    """

    recipient: str
    roles: frozenset[Role]
    member: bool
    marketing: Marketing | None
    processed_service: str | None
    rules: tuple[str, ...]
    items: frozenset[str] = frozenset()
    bases: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    suspended: frozenset[str] = frozenset()

    def basis_of(self, role: str) -> tuple[str, str]:
        """Return (leading purpose, rule id) under which a role is held. KeyError for a role not held."""
        return self.bases[role]


@dataclass(frozen=True)
class StopFor:
    """Take something away. `roles` are the rows it reaches; `marketing` is what remains after marketing_revoked.

    `suspended`: what a suspension in part takes out of use; empty for a whole one.
    """

    recipient: str
    stop: StopName
    roles: frozenset[Role]
    marketing: Marketing | None
    rules: tuple[str, ...]
    suspended: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Nothing:
    """Send nothing, and why."""

    recipient: str
    rules: tuple[str, ...]


@dataclass(frozen=True)
class NoticeFor:
    """Tell a third party that these items were corrected (5.7); the values of those `withheld` are not sent."""

    recipient: str
    items: tuple[str, ...]
    rules: tuple[str, ...]
    withheld: tuple[str, ...] = ()


Action = Project | StopFor | Nothing


@dataclass(frozen=True)
class Decision:
    """One action per affiliate, and one notice per third party that holds an old value."""

    affiliates: tuple[Action, ...]
    notices: tuple[NoticeFor, ...]

"""What ought to be true, by a model of its own: plain dictionaries, nothing of the product's code.

It mirrors the promises of the policy in the fewest words: who holds which row after the accepted changes.
"""

from dataclasses import dataclass, field
from typing import Any

AFFILIATES = ("tmax-cloud", "tmax-os", "tmax-anc")
OPERATOR = "tmax-cloud"
PROCESSORS = {"hypermeeting": "tmax-os", "wapl": "tmax-anc"}
PARTNER = "demo-partner"


@dataclass
class Person:
    """One member as its accepted commands left it."""

    ref: str
    email: str
    name: str
    sharing: set[str]
    profiles: dict[str, dict[str, Any]]
    seq: int = 1
    status: str = "active"
    marketing: dict[str, set[str]] = field(default_factory=dict)
    partner_has: dict[str, Any] = field(default_factory=dict)
    ended_rows: dict[str, set[str]] = field(default_factory=dict)
    """After withdrawal: which rows ('member', 'processed') each affiliate still has, emptied."""

    def value(self, item: str) -> Any:
        """Return the present value of an item by its full name."""
        if item in ("email", "name"):
            return getattr(self, item)
        service, _, name = item.partition(".")
        return self.profiles[service][name]

    def holders(self) -> set[str]:
        """Return the affiliates with a member row as recipients."""
        return {OPERATOR} | self.sharing

    def member_row(self, affiliate: str) -> dict[str, Any] | None:
        """Return what this affiliate's `member` row must say; None = there must be none."""
        if self.status == "withdrawn":
            emptied = {"email": None, "name": None, "status": "withdrawn", "marketing": None}
            return emptied if "member" in self.ended_rows.get(affiliate, set()) else None
        if affiliate not in self.holders():
            return None
        channels = self.marketing.get(affiliate, set())
        told = {c: c in channels for c in ("use", "email", "sms", "night")} if channels else None
        return {"email": self.email, "name": self.name, "status": self.status, "marketing": told}

    def processed_row(self, affiliate: str) -> dict[str, Any] | None:
        """Return what this affiliate's `processed_member` row must say; None = there must be none."""
        if self.status == "withdrawn":
            emptied = {"service": None, "role": None, "items": None, "status": "withdrawn"}
            return emptied if "processed" in self.ended_rows.get(affiliate, set()) else None
        for service, profile in self.profiles.items():
            if PROCESSORS[service] == affiliate:
                items = {k: v for k, v in profile.items() if k != "role"}
                items |= {"email": self.email, "name": self.name}
                stands = None if self.status == "active" else self.status
                return {"service": service, "role": profile["role"], "items": items, "status": stands}
        return None

    def withdraw(self) -> None:
        """The confirmed withdrawal: values go, the rows that were there stay empty until erasure."""
        for affiliate in AFFILIATES:
            rows = {"member"} if self.member_row(affiliate) else set()
            rows |= {"processed"} if self.processed_row(affiliate) else set()
            self.ended_rows[affiliate] = rows
        self.status = "withdrawn"
        self.sharing, self.marketing, self.profiles = set(), {}, {}


@dataclass
class Expected:
    """The ledger of what HTTP accepted: people, changes in order, and the notices the partner is owed."""

    people: dict[str, Person] = field(default_factory=dict)
    changes: dict[str, tuple[str, int]] = field(default_factory=dict)
    """change_id -> (member_ref, seq)"""
    notices: dict[str, dict[str, Any]] = field(default_factory=dict)
    """change_id -> item values the partner must have been told"""

    def accept(self, person: Person, answer: dict[str, Any]) -> None:
        """Note an accepted change; its seq must be the member's next."""
        expected = person.seq + 1 if person.ref in self.people else 1
        assert answer["seq"] == expected, "the sequence has a hole or a double"
        person.seq = answer["seq"]
        self.people[person.ref] = person
        assert answer["change_id"] not in self.changes
        self.changes[answer["change_id"]] = (person.ref, answer["seq"])

    def correct(self, person: Person, change_id: str, values: dict[str, Any]) -> None:
        """Note a correction: the partner is owed a notice for what it holds and what differs now."""
        owed = {i: v for i, v in values.items() if i in person.partner_has and person.partner_has[i] != v}
        if owed:
            self.notices[change_id] = owed
            person.partner_has |= owed

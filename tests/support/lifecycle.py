"""One member's life as the policy tells it, in plain Python: what may happen next, and who holds what afterwards.

Written from the privacy policy and the outside of the product (docs/http.md, docs/rights.md, docs/affiliates.md); it
knows nothing of the product's code. Clauses are in brackets.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.support.expected import AFFILIATES, OPERATOR, PROCESSORS

CHANNELS = ("use", "email", "sms", "night")
Refusal = tuple[int, str]
"""HTTP status and code of a command that must be refused."""
LEFT: Refusal = (409, "member_withdrawn")
NOT_ACTIVE: Refusal = (409, "member_not_active")


@dataclass
class Life:
    """One member; `changes` are the accepted ones in order: (change_id, what happened)."""

    ref: str
    email: str
    name: str
    sharing: set[str]
    profiles: dict[str, dict[str, Any]]
    marketing: dict[str, set[str]]
    layers: list[str] = field(default_factory=list)
    """What lies over an active membership, the newest last: 'suspended', 'withdrawal_requested' (5.1, 1.2)"""
    ended: str | None = None
    changes: list[tuple[str, str]] = field(default_factory=list)
    held: dict[str, set[str]] = field(default_factory=dict)
    """Affiliate to the rows it has: 'recipient' (3.2), 'processor' (4.3)"""
    given: set[tuple[str, str]] = field(default_factory=set)
    """Every provision there ever was: (recipient, role)"""
    partner_has: dict[str, Any] = field(default_factory=dict)
    notices: dict[str, dict[str, Any]] = field(default_factory=dict)
    """change_id -> the values the third party must have been told (5.7)"""
    request_id: str = ""
    """The rights request by which processing is suspended"""
    suspension_decided: bool = False

    @property
    def seq(self) -> int:
        return len(self.changes)

    @property
    def status(self) -> str:
        return self.ended or (self.layers[-1] if self.layers else "active")

    @property
    def in_force(self) -> str:
        """The status in every store: a request to leave lifts no suspension (5.1)."""
        return "suspended" if "suspended" in self.layers else self.status

    @property
    def gone(self) -> bool:
        return self.ended is not None

    def happened(self, change_id: str, what: str) -> None:
        """Note an accepted change, after its effect on this object was made."""
        assert change_id not in {known for known, _ in self.changes}, "one change was told of twice"
        self.changes.append((change_id, what))
        for affiliate in AFFILIATES:
            before, may = self.held.get(affiliate, set()), self._entitled(affiliate)
            # Nothing new is shared while one is leaving or suspended; what must go goes at once (3.2, 5.1).
            self.held[affiliate] = (before if self.layers or self.gone else may) & may
            self.given |= {(affiliate, role) for role in self.held[affiliate] - before}

    def _entitled(self, affiliate: str) -> set[str]:
        if self.gone:
            return self.held.get(affiliate, set())
        rows = {"recipient"} if affiliate == OPERATOR or affiliate in self.sharing else set()
        used = any(PROCESSORS[service] == affiliate for service in self.profiles)
        return rows | ({"processor"} if used else set())

    def correct(self, values: dict[str, Any]) -> dict[str, Any]:
        """Change values by their full names; return what the third party must be told of it (5.7)."""
        for item, value in values.items():
            service, _, name = item.rpartition(".")
            if service:
                self.profiles[service][name] = value
            else:
                setattr(self, item, value)
        owed = {i: v for i, v in values.items() if i in self.partner_has and self.partner_has[i] != v}
        self.partner_has |= owed
        return owed

    def value(self, item: str) -> Any:
        service, _, name = item.rpartition(".")
        return self.profiles[service][name] if service else getattr(self, item)

    def leave(self) -> None:
        """The confirmed withdrawal (1.2): every value goes; rows that were there stay, empty, until erasure."""
        self.ended, self.layers = "withdrawn", []

    # What must be refused, by command; None = it must be accepted.

    def refuses_change(self) -> Refusal | None:
        return LEFT if self.gone else None

    def refuses_grant(self) -> Refusal | None:
        """No new consent in any status but active (3.2); taking one back is always possible but for who left."""
        return LEFT if self.gone else NOT_ACTIVE if self.layers else None

    def refuses_marketing(self, sender: str, channel: str) -> Refusal | None:
        """A channel needs the consent to marketing use (1.5)."""
        lacking = channel != "use" and "use" not in self.marketing.get(sender, set())
        return self.refuses_grant() or ((422, "marketing_use_required") if lacking else None)

    def refuses_leaving(self) -> Refusal | None:
        asked = "withdrawal_requested" in self.layers
        return LEFT if self.gone else (409, "withdrawal_already_requested") if asked else None

    def refuses_end_of_leaving(self) -> Refusal | None:
        asked = "withdrawal_requested" in self.layers
        return LEFT if self.gone else None if asked else (409, "withdrawal_not_requested")

    # Who holds what.

    def member_row(self, affiliate: str) -> dict[str, Any] | None:
        """Return an affiliate's `member` row; None = there is none."""
        if self.ended == "erased" or "recipient" not in self.held[affiliate]:
            return None
        if self.ended:
            return {"email": None, "name": None, "status": "withdrawn", "marketing": None}
        channels = self.marketing.get(affiliate, set())
        told = {c: c in channels for c in CHANNELS} if channels else None
        return {"email": self.email, "name": self.name, "status": self.in_force, "marketing": told}

    def processed_row(self, affiliate: str) -> dict[str, Any] | None:
        """Return an affiliate's `processed_member` row; None = there is none."""
        if self.ended == "erased" or "processor" not in self.held[affiliate]:
            return None
        if self.ended:
            return {"service": None, "role": None, "items": None, "status": "withdrawn"}
        service = next(s for s in self.profiles if PROCESSORS[s] == affiliate)
        items = {name: value for name, value in self.profiles[service].items() if name != "role"}
        items |= {"email": self.email, "name": self.name}
        stands = None if self.in_force == "active" else self.in_force
        return {"service": service, "role": self.profiles[service]["role"], "items": items, "status": stands}

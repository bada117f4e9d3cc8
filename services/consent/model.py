"""Pure: one member's state and what each command makes of it. No I/O, no clock, no keys.

A command gives a `Step`: the state after, what the policy is asked about, and the consents given and ended.
What goes to whom is not decided here but in `services.policy.decide`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from schemas.base import Marketing, MemberStatus
from schemas.events import FactName
from services.runtime.problem import Problem

MARKETING_CHANNELS = ("use", "email", "sms", "night")
NO_MARKETING = Marketing(use=False, email=False, sms=False, night=False)
ENDED: frozenset[MemberStatus] = frozenset({"withdrawn", "erased"})


@dataclass(frozen=True)
class Profile:
    """A member's role in one service with the item values of clause 6.2."""

    service: str
    role: str
    items: Mapping[str, Any]


@dataclass(frozen=True)
class HeldState:
    """What an affiliate has been sent so far: last seq, key epoch, rows by role, marketing instruction."""

    prev: int
    epoch: int
    roles: frozenset[str]
    marketing: Marketing | None = None


@dataclass(frozen=True)
class ConsentRef:
    """Which consent: purpose, party (recipient or sender; '' = none), channel ('' = none)."""

    purpose: str
    party: str = ""
    channel: str = ""


@dataclass(frozen=True)
class Member:
    """The state of one member. Personal fields are None once withdrawn."""

    member_ref: str
    seq: int
    status: MemberStatus
    signed_up_at: datetime
    email: str | None = None
    name: str | None = None
    password_hash: str | None = None
    birth_date: date | None = None
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    consents: frozenset[ConsentRef] = frozenset()
    held: Mapping[str, HeldState] = field(default_factory=dict)
    status_before: MemberStatus | None = None
    """The status to return to when a withdrawal request is cancelled: a suspension does not end that way."""
    withdrawal_requested_at: datetime | None = None
    withdrawn_at: datetime | None = None

    def sharing(self) -> frozenset[str]:
        """Return the recipients with a live sharing consent."""
        return frozenset(c.party for c in self.consents if c.purpose == "sharing")

    def marketing(self) -> dict[str, Marketing]:
        """Return the marketing instruction per sender, for senders with at least one live consent."""
        given: dict[str, set[str]] = {}
        for c in self.consents:
            if c.purpose == "marketing":
                given.setdefault(c.party, set()).add(c.channel)
        return {
            sender: Marketing(**{ch: ch in channels for ch in MARKETING_CHANNELS}) for sender, channels in given.items()
        }

    def values(self) -> dict[str, Any]:
        """Return every item value there is: account items by name, a profile's role and items as `<service>.<item>`."""
        account = {"email": self.email, "name": self.name, "password_hash": self.password_hash}
        found: dict[str, Any] = {k: v for k, v in account.items() if v is not None}
        if self.birth_date is not None:
            found["birth_date"] = self.birth_date.isoformat()
        for profile in self.profiles.values():
            found |= {f"{profile.service}.{k}": v for k, v in {"role": profile.role, **profile.items}.items()}
        return found


@dataclass(frozen=True)
class Step:
    """One command's effect, before policy: the state after, and what changed."""

    member: Member
    change: FactName
    items: frozenset[str] = frozenset()
    given: tuple[ConsentRef, ...] = ()
    ended: tuple[ConsentRef, ...] = ()
    note: str | None = None


def sign_up(member: Member, given: tuple[ConsentRef, ...]) -> Step:
    """A new member with the consents given at sign-up (clauses 1.2, 3.2, 1.5)."""
    complete = replace(member, consents=frozenset(given))
    return Step(complete, "signed_up", frozenset(complete.values()), given)


def correct(member: Member, **changed: Any) -> Step:
    """A correction by the member (5.1); `items` are only those whose value really differs."""
    _refuse_ended(member)
    after = replace(member, **changed)
    before_values, after_values = member.values(), after.values()
    differing = {k for k in before_values | after_values if before_values.get(k) != after_values.get(k)}
    return Step(after, "corrected", frozenset(differing))


def request_withdrawal(member: Member, at: datetime) -> Step:
    """Step one of leaving (1.2): nothing new is shared from here on, values stay until confirmed (3.2)."""
    _refuse_ended(member)
    if member.status == "withdrawal_requested":
        raise Problem(
            409,
            "withdrawal_already_requested",
            "이미 탈퇴를 요청했습니다. 확정하거나 취소해 주세요.",
            "Withdrawal was requested already. Confirm or cancel it.",
        )
    after = replace(member, status="withdrawal_requested", status_before=member.status, withdrawal_requested_at=at)
    return Step(after, "withdrawal_requested")


def confirm_withdrawal(member: Member, at: datetime) -> Step:
    """Step two (1.2, 3.2 탈퇴 확정): every grant ends and every personal value goes."""
    _require_requested(member)
    after = replace(
        member,
        status="withdrawn",
        status_before=None,
        withdrawn_at=at,
        email=None,
        name=None,
        password_hash=None,
        birth_date=None,
        profiles={},
        consents=frozenset(),
    )
    return Step(after, "withdrawn", ended=tuple(sorted(member.consents, key=str)))


def cancel_withdrawal(member: Member) -> Step:
    """The member stays: sharing goes on under the grants that were live before the request."""
    _require_requested(member)
    before = member.status_before or "active"
    after = replace(member, status=before, status_before=None, withdrawal_requested_at=None)
    return Step(after, "released", note="withdrawal_request")


def change_sharing(member: Member, granted: bool, recipients: frozenset[str]) -> Step:
    """Give or take back the sharing consent (3.2, PIPA 17) for these recipients."""
    _refuse_ended(member)
    _refuse_pending(member, granted)
    named = {ConsentRef("sharing", r) for r in recipients}
    return _consents(member, named, granted)


def change_marketing(member: Member, granted: bool, senders: frozenset[str], channel: str) -> Step:
    """Give or take back one marketing consent (1.5, Network Act 50); without `use` no channel stands."""
    _refuse_ended(member)
    _refuse_pending(member, granted)
    if granted:
        _require_use(member, senders, channel)
    channels = MARKETING_CHANNELS if not granted and channel == "use" else (channel,)
    return _consents(member, {ConsentRef("marketing", s, c) for s in senders for c in channels}, granted)


def _consents(member: Member, named: set[ConsentRef], granted: bool) -> Step:
    if granted:
        after = replace(member, consents=member.consents | named)
        renewed = tuple(sorted(named & member.consents, key=str))
        return Step(after, "consent_changed", given=tuple(sorted(named, key=str)), ended=renewed)
    live = named & member.consents
    after = replace(member, consents=member.consents - named)
    return Step(after, "consent_changed", ended=tuple(sorted(live or named, key=str)))


def _require_use(member: Member, senders: frozenset[str], channel: str) -> None:
    marketing = member.marketing()
    lacking = [s for s in senders if not marketing.get(s, NO_MARKETING).use]
    if channel != "use" and lacking:
        raise marketing_needs_use("/channel")


def marketing_needs_use(pointer: str) -> Problem:
    """The refusal of a marketing channel without the consent to marketing use (PIPA 22(1)7)."""
    return Problem(
        422,
        "marketing_use_required",
        "먼저 마케팅 이용(use)에 동의해야 수신 채널을 켤 수 있습니다.",
        "Consent to marketing use first; a channel cannot stand without it.",
        errors=[{"pointer": pointer, "code": "marketing_use_required"}],
    )


def _refuse_ended(member: Member) -> None:
    if member.status in ENDED:
        raise Problem(
            409,
            "member_withdrawn",
            "탈퇴한 회원은 변경할 수 없습니다.",
            "The member has withdrawn; nothing can change.",
        )


def _refuse_pending(member: Member, granted: bool) -> None:
    if granted and member.status != "active":
        raise Problem(
            409,
            "member_not_active",
            "현재 상태에서는 새 동의를 받을 수 없습니다. 탈퇴 요청 중이면 먼저 취소해 주세요.",
            "No new consent can be taken in this status. Cancel the pending withdrawal first.",
        )


def _require_requested(member: Member) -> None:
    _refuse_ended(member)
    if member.status != "withdrawal_requested":
        raise Problem(
            409,
            "withdrawal_not_requested",
            "탈퇴 요청이 없습니다. 먼저 탈퇴를 요청해 주세요.",
            "No withdrawal was requested. Request it first.",
        )

"""Pure: one member's state and what each command makes of it. No I/O, no clock, no keys.

A command gives a `Step`: the state after, what the policy is asked about, and the consents given and ended.
What goes to whom is not decided here but in `services.policy.decide`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from schemas.base import Channel, Marketing, MemberStatus
from schemas.events import FactName
from services.runtime.problem import Problem

MARKETING_CHANNELS = ("use", "email", "sms", "night")
NO_MARKETING = Marketing(use=False, email=False, sms=False, night=False)
ENDED: frozenset[MemberStatus] = frozenset({"withdrawn", "erased"})
DELETION = "deletion"
"""Note of a step that clears items: a correction to every store, but no correction result for third parties (5.7)."""

OF_AGE = "birth_date_corrected"
"""Note of a release: the birth date for which the member waited for a guardian was wrong."""


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
    dormant_notified_at: datetime | None = None
    """When the member was told that the unused account is about to leave (2.2); it takes nothing away meanwhile."""
    collected_via: Channel | None = None
    """How the account was collected (6.1); a profile's and a consent's channel stand beside them."""
    age_declared: bool = False
    suspended: frozenset[str] = frozenset()
    """Items and purposes whose processing is suspended in part (5.1); a whole suspension is a status."""
    guardian_confirmed: bool = False
    """A guardian was verified and consented for this member (22-2)."""

    @property
    def in_force(self) -> MemberStatus:
        """The status that every use goes by: a request to leave lifts neither a suspension nor the guardian's word."""
        before = self.status_before
        stricter = self.status == "withdrawal_requested" and before in {"suspended", "pending_guardian"}
        return before if stricter and before is not None else self.status

    @property
    def standing(self) -> MemberStatus:
        """The status as it is told: `dormant_notified` is shown only, every rule goes by `active`."""
        return "dormant_notified" if self.status == "active" and self.dormant_notified_at else self.status

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
    asked: tuple[ConsentRef, ...] = ()
    """The consents a wish named, whether it changed them or not: each wish gets its result notice (E4)."""
    lifted: frozenset[str] = frozenset()
    """Items that may be shared again: what a processor is given of them is a new provision."""


def sign_up(member: Member, given: tuple[ConsentRef, ...]) -> Step:
    """A new member with the consents given at sign-up (clauses 1.2, 3.2, 1.5)."""
    complete = replace(member, consents=frozenset(given))
    declared = "age_declared" if member.age_declared else None
    note = "pending_guardian" if member.status == "pending_guardian" else declared
    return Step(complete, "signed_up", frozenset(complete.values()), given, note=note)


def confirm_guardian(member: Member) -> Step:
    """The guardian of a member under 14 consents (PIPA 22-2): sharing begins under the consents of the sign-up."""
    refuse_ended(member)
    if member.status != "pending_guardian":
        raise not_pending()
    return Step(replace(member, status="active", guardian_confirmed=True), "released", note="guardian_confirmed")


def consent_to_collection(member: Member, *, of_age: bool) -> Step:
    """The member's own consent to collection: under a new notice, or of one who turned 14 while waiting (22-2).

    A child's other consents were the guardian's to confirm: they end, and the member may give them anew (A7).
    Raises Problem 409 for one who still waits for a guardian.
    """
    refuse_ended(member)
    own = ConsentRef("collection")
    if member.status != "pending_guardian":
        _refuse_pending(member, True)
        return _consents(member, {own}, True)
    if not of_age:
        raise guardian_needed()
    after = replace(member, status="active", consents=frozenset({own}))
    return Step(after, "released", given=(own,), ended=tuple(sorted(member.consents, key=str)), note="came_of_age")


def guardian_needed() -> Problem:
    """The refusal of a consent that only the guardian can give (22-2(1)), with how it is given."""
    return Problem(
        409,
        "guardian_needed",
        "만 14세 미만이거나 생년월일을 알 수 없어 법정대리인의 동의가 필요합니다. 가입의 동의는 guardian/confirm으로, "
        "그 뒤의 동의는 담당자가 guardian에 확인 방법을 넣어 보내 주세요.",
        "Under 14, or of unknown birth date: a guardian must consent. For the sign-up use guardian/confirm; a "
        "later consent is sent by staff, with how the guardian was verified in `guardian`.",
    )


def not_pending() -> Problem:
    """The refusal of what only a member who waits for a guardian needs."""
    return Problem(
        409,
        "not_pending_guardian",
        "법정대리인의 동의를 기다리는 회원이 아닙니다.",
        "The member is not waiting for a guardian's consent.",
    )


def correct(member: Member, **changed: Any) -> Step:
    """A correction by the member (5.1); `items` are only those whose value really differs."""
    refuse_ended(member)
    after = replace(member, **changed)
    before_values, after_values = member.values(), after.values()
    differing = {k for k in before_values | after_values if before_values.get(k) != after_values.get(k)}
    return Step(after, "corrected", frozenset(differing))


def request_withdrawal(member: Member, at: datetime) -> Step:
    """Step one of leaving (1.2): nothing new is shared from here on, values stay until confirmed (3.2)."""
    refuse_ended(member)
    if withdrawal_pending(member):
        raise Problem(
            409,
            "withdrawal_already_requested",
            "이미 탈퇴를 요청했습니다. 확정하거나 취소해 주세요.",
            "Withdrawal was requested already. Confirm or cancel it.",
        )
    after = replace(member, status="withdrawal_requested", status_before=member.status, withdrawal_requested_at=at)
    return Step(after, "withdrawal_requested")


def withdrawal_pending(member: Member) -> bool:
    """Say whether the member asked to leave and neither confirmed nor cancelled; a suspension may stand over it."""
    suspended = member.status == "suspended" and member.withdrawal_requested_at is not None
    return suspended or member.status == "withdrawal_requested"


def confirm_withdrawal(member: Member, at: datetime) -> Step:
    """Step two (1.2, 3.2 탈퇴 확정): every grant ends and every personal value goes."""
    _require_requested(member)
    after = replace(
        member,
        status="withdrawn",
        status_before=None,
        withdrawn_at=at,
        dormant_notified_at=None,
        email=None,
        name=None,
        password_hash=None,
        birth_date=None,
        profiles={},
        consents=frozenset(),
        suspended=frozenset(),
    )
    return Step(after, "withdrawn", ended=tuple(sorted(member.consents, key=str)))


def cancel_withdrawal(member: Member) -> Step:
    """The member stays: sharing goes on under the grants that were live before the request."""
    _require_requested(member)
    if member.status == "suspended":  # suspended after the request: that outlives it
        return Step(replace(member, withdrawal_requested_at=None), "released", note="withdrawal_request")
    before = member.status_before or "active"
    after = replace(member, status=before, status_before=None, withdrawal_requested_at=None)
    return Step(after, "released", note="withdrawal_request")


def change_sharing(member: Member, granted: bool, recipients: frozenset[str]) -> Step:
    """Give or take back the sharing consent (3.2, PIPA 17) for these recipients."""
    refuse_ended(member)
    _refuse_pending(member, granted)
    named = {ConsentRef("sharing", r) for r in recipients}
    return _consents(member, named, granted)


def change_marketing(member: Member, granted: bool, senders: frozenset[str], channel: str) -> Step:
    """Give or take back one marketing consent (1.5, Network Act 50); without `use` no channel stands."""
    refuse_ended(member)
    _refuse_pending(member, granted)
    if granted:
        _require_use(member, senders, channel)
    channels = MARKETING_CHANNELS if not granted and channel == "use" else (channel,)
    named = {ConsentRef("marketing", s, c) for s in senders for c in channels}
    return replace(_consents(member, named, granted), asked=tuple(sorted(named, key=str)))


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


def refuse_ended(member: Member) -> None:
    """Raise Problem 409 for a member who has left: nothing can change any more."""
    refuse_ended_status(member.status)


def refuse_ended_status(status: MemberStatus) -> None:
    """The same where nothing of the member but the status is at hand."""
    if status in ENDED:
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
    refuse_ended(member)
    if not withdrawal_pending(member):
        raise Problem(
            409,
            "withdrawal_not_requested",
            "탈퇴 요청이 없습니다. 먼저 탈퇴를 요청해 주세요.",
            "No withdrawal was requested. Request it first.",
        )

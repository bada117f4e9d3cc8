"""What consent says: facts (clear, pseudonymous), projections (sealed) and stops (clear, no values).

A fact names the change; a projection is the FULL state one recipient may have after it; a stop takes
something away and needs no key, so that it always applies. Values appear in projections and notices only.
"""

from datetime import date
from typing import Literal

from pydantic import Field

from schemas.base import (
    ActorKind,
    Channel,
    Instant,
    ItemName,
    Marketing,
    MemberStatus,
    Previous,
    RecipientId,
    RecipientKind,
    Role,
    Sequence,
    Shape,
    SuspendedName,
    Uuid,
)

FactName = Literal[
    "signed_up",
    "corrected",
    "withdrawal_requested",
    "withdrawn",
    "consent_changed",
    "suspended",
    "released",
    "erased",
]


RECORD_TYPE = "kr.dongui.record.v1"


def event_type(name: FactName) -> str:
    """Return the CloudEvents type of a fact and of the records it causes: `kr.dongui.member.<name>.v1`."""
    return f"kr.dongui.member.{name}.v1"


class Addressee(Shape):
    """One recipient that is owed an answer to a change: a record on its topic, or a notice.

    `suspended`: the items and purposes suspended in part that its record names.
    """

    id: RecipientId
    kind: RecipientKind
    roles: tuple[Role, ...] = ()
    rules: tuple[str, ...] = ()
    suspended: tuple[SuspendedName, ...] = ()


class ConsentItem(Shape):
    """One consent given or taken back: sharing has a recipient, marketing a sender and a channel."""

    purpose: Literal["collection", "sharing", "marketing"]
    granted: bool
    recipient: RecipientId | None = None
    sender: RecipientId | None = None
    channel: Literal["use", "email", "sms", "night"] | None = None
    notice_version: str


class Fact(Shape):
    """What happened to one member. Items by name only; commitments are HMACs under a key that dies with the member."""

    change: FactName
    change_id: Uuid
    member_ref: Uuid
    seq: Sequence
    at: Instant
    actor: ActorKind
    channel: Channel
    items: tuple[ItemName, ...] = ()
    commitments: dict[ItemName, str] = Field(default_factory=dict)
    consents: tuple[ConsentItem, ...] = ()
    addressees: tuple[Addressee, ...] = ()
    suspended: tuple[SuspendedName, ...] = ()
    """The items and purposes whose processing stays suspended in part after this change; not a whole suspension."""
    policy_version: str
    note: str | None = Field(default=None, pattern=r"^[a-z][a-z_]{0,40}$")
    """A coded detail, never free text: `withdrawal_request` or `suspension` for what a release ended."""


class MemberPart(Shape):
    """What a recipient may hold under clause 3.2, and not one item more. An item suspended in part is null (37(2))."""

    email: str | None
    name: str | None
    password_hash: str | None
    status: MemberStatus
    signed_up_at: Instant


class ProcessedPart(Shape):
    """What a processor holds under clause 4.3 for the service it runs; item values by name.

    `status` is null but for a member whose processing is suspended, or who asked to leave: it stands over this row too.
    """

    service: str
    role: str
    items: dict[ItemName, str | list[str]]
    status: MemberStatus | None = None


class Projection(Shape):
    """Full state for one recipient after one change. `prev` is the last seq sent to it for this member (0 = first).

    `suspended`: the items and purposes of it that may not be used for now (5.1); the store keeps them out of sight.
    """

    change_id: Uuid
    member_ref: Uuid
    seq: Sequence
    prev: Previous
    at: Instant
    member: MemberPart | None
    marketing: Marketing | None
    processed: ProcessedPart | None
    suspended: tuple[SuspendedName, ...] = ()


StopName = Literal[
    "sharing_revoked",
    "marketing_revoked",
    "withdrawal_requested",
    "suspended",
    "withdrawn",
    "erased",
]


class Stop(Shape):
    """Takes something away. No value, no key. `roles` says which of the recipient's rows it reaches.

    sharing_revoked: the member row goes. marketing_revoked: `marketing` is what remains (null = nothing).
    withdrawal_requested, suspended: the status changes, values stay; but a suspension that names items or purposes in
    `suspended` (all that stand suspended, not only new ones) leaves the status and takes just these out of use.
    withdrawn: values become NULL.
    erased: the rows go and the member is suppressed.
    """

    stop: StopName
    change_id: Uuid
    member_ref: Uuid
    seq: Sequence
    prev: Previous
    at: Instant
    roles: tuple[Role, ...]
    marketing: Marketing | None = None
    suspended: tuple[SuspendedName, ...] = ()


class Notice(Shape):
    """A correction notice to one third party (clause 5.7); `values` only for items it may hold.

    Of the items `withheld` no value is sent: it pulls them with its own token.
    """

    notice_id: Uuid
    change_id: Uuid
    member_ref: Uuid
    recipient: RecipientId
    seq: Sequence
    corrected_at: Instant
    items: tuple[ItemName, ...]
    values: dict[ItemName, str]
    withheld: tuple[ItemName, ...] = ()


RecordClass = Literal["contract", "payment", "dispute", "visit", "advertising"]
"""Clause 2.1: what another law makes the company keep after a member has left."""


class StatutoryRecord(Shape):
    """One statutory record on its way to the retention database (7.2). `change_id` and `seq`: the change that moves it.

    `party` is the identification of the party to the transaction (decree 6(2) of the e-commerce act), `fields` what
    happened; both hold only what the class allows. `destroy_on` is the first day (KST) it may no longer be kept.
    """

    record_id: Uuid
    change_id: Uuid
    member_ref: Uuid
    seq: Sequence
    record_class: RecordClass
    occurred_at: Instant
    destroy_on: date
    rule: str = Field(pattern=r"^[a-z][a-z0-9_.-]{0,62}$")
    party: dict[ItemName, str]
    fields: dict[ItemName, str]


class Suppression(Shape):
    """A member who may never come back into any store. References only; kept for ever."""

    member_ref: Uuid
    at: Instant

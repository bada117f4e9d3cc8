"""What was done about a change: one receipt per (change, recipient), and what is provable beside changes.

A disclosure made outside a change, and a register entry: a rights request, a message sent, an inquiry.
"""

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from schemas.base import ActorKind, Instant, ItemName, RecipientId, RecipientKind, Role, Sequence, Shape, Uuid

Stage = Literal[
    "accepted",
    "relayed",
    "manual",
    "applied",
    "sealed",
    "superseded",
    "skipped_destroyed",
    "refused",
    "late",
    "retained",
]
ANSWERED: frozenset[Stage] = frozenset({"applied", "superseded", "skipped_destroyed", "refused"})
"""The stages that end the wait for a recipient."""

RECEIPT_TYPE = "kr.dongui.receipt.v1"
DISCLOSURE_TYPE = "kr.dongui.disclosure.v1"
REGISTER_TYPE = "kr.dongui.register.v1"

Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
CODED_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/+-]{0,99}")
CodedValue = Annotated[str, StringConstraints(pattern=f"^{CODED_VALUE.pattern}$")]
"""A code, an id, a date, a hash, item names joined by `+`: never free text, never a value of a member."""

RESTRICTED = "restricted"
HOLD_KIND = "legal_hold"
"""The kind of register entries by which the consent and the retention process know of each other's legal holds."""


class Receipt(Shape):
    """An answer. `recipient` is an affiliate, a third party, or `audit` for `sealed` (with its leaf index).

    `retention` answers for one statutory record (`record_id`): `retained`, `skipped_destroyed` or `refused`; its
    `change_id` is the change of the member because of which the record moved.

    A notice that failed and was overtaken by a newer correction is `superseded`: `superseded_by` is the newer change,
    and once that one is answered a second receipt carries its outcome. `manual`: staff tell the third party.
    """

    change_id: Uuid
    member_ref: Uuid
    seq: Sequence
    recipient: RecipientId
    kind: RecipientKind | Literal["audit", "retention"]
    stage: Stage
    at: Instant
    outcome: Literal["corrected", "not_held", "refused"] | None = None
    reason: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_.-]{0,62}$")
    leaf_index: int | None = None
    record_id: Uuid | None = None
    superseded_by: Uuid | None = None


class DisclosureRecord(Shape):
    """A disclosure to a third party was recorded: who may now hold which item, on what basis. No values."""

    disclosure_id: Uuid
    member_ref: Uuid
    recipient: RecipientId
    kind: RecipientKind
    role: Role
    items: tuple[ItemName, ...]
    purpose: str
    basis: str
    at: Instant


class RegisterEntry(Shape):
    """A step of something that changes no member but must be provable. Its key is the member, else the subject.

    `kind` and `state` are codes (`rights_request`, `received`); `subject` is the id of the thing itself.
    Kind `restricted` (3.3: provision to investigators) names no member: the log must not lead to the person.
    """

    entry_id: Uuid
    member_ref: Uuid | None = None
    kind: Word
    subject: Uuid
    state: Word
    at: Instant
    actor: ActorKind
    codes: dict[Word, CodedValue] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """The Kafka key and CloudEvents subject."""
        return self.member_ref or self.subject

    @model_validator(mode="after")
    def _restricted_names_nobody(self) -> "RegisterEntry":
        if self.kind == RESTRICTED and self.member_ref is not None:
            raise ValueError("a restricted entry names no member")
        return self

"""What was done about a change: one receipt per (change, recipient), and disclosures made outside a change."""

from typing import Literal

from pydantic import Field

from schemas.base import Instant, ItemName, RecipientId, RecipientKind, Role, Sequence, Shape, Uuid

Stage = Literal["accepted", "relayed", "applied", "sealed", "superseded", "skipped_destroyed", "refused", "late"]
ANSWERED: frozenset[Stage] = frozenset({"applied", "superseded", "skipped_destroyed", "refused"})
"""The stages that end the wait for a recipient."""

RECEIPT_TYPE = "kr.dongui.receipt.v1"
DISCLOSURE_TYPE = "kr.dongui.disclosure.v1"


class Receipt(Shape):
    """An answer. `recipient` is an affiliate, a third party, or `audit` for `sealed` (with its leaf index)."""

    change_id: Uuid
    member_ref: Uuid
    seq: Sequence
    recipient: RecipientId
    kind: RecipientKind | Literal["audit"]
    stage: Stage
    at: Instant
    outcome: Literal["corrected", "not_held", "refused"] | None = None
    reason: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_.-]{0,62}$")
    leaf_index: int | None = None


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

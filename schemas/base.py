"""What every shape of the contract has in common: frozen, closed to unknown fields, strict types."""

from datetime import UTC, datetime
from typing import Annotated, Literal, NewType

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

MemberRef = NewType("MemberRef", str)
"""The pseudonymous reference of a member: a lower-case UUID, the Kafka key of all that concerns it."""

Uuid = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
RecipientId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
ItemName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.]{0,62}$")]
PurposeId = Annotated[str, StringConstraints(pattern=r"^P[1-9]\.[1-9]$")]
SuspendedName = Annotated[str, StringConstraints(pattern=r"^(P[1-9]\.[1-9]|[a-z][a-z0-9_.]{0,62})$")]
"""What a suspension may be of in part (PIPA 37(1)): a purpose of clause 1, or an item of clause 6.2."""

Instant = Annotated[AwareDatetime, Field(ge=datetime(1900, 1, 1, tzinfo=UTC), le=datetime(9998, 12, 31, tzinfo=UTC))]
"""An instant that every calendar has in every zone: at the ends of year 1 and 9999 a change of zone overflows, and no
database would take it. A record that says so is refused, and stops no consumer."""

MemberStatus = Literal[
    "pending_guardian",
    "active",
    "suspended",
    "dormant_notified",
    "withdrawal_requested",
    "withdrawn",
    "erased",
]
RecipientKind = Literal["affiliate", "third_party"]
Role = Literal["recipient", "processor"]
Channel = Literal["web", "app", "written", "email", "fax", "phone", "import"]
ActorKind = Literal["member", "guardian", "agent", "staff", "service", "system"]
Sequence = Annotated[int, Field(ge=1)]
Previous = Annotated[int, Field(ge=0)]


class Shape(BaseModel):
    """Base of every wire shape: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_timedelta="iso8601")


class Marketing(Shape):
    """An instruction, not a record: may this affiliate use and send marketing, per channel (1.5, Network Act 50)."""

    use: bool
    email: bool
    sms: bool
    night: bool


__all__ = [
    "ActorKind",
    "Channel",
    "Instant",
    "ItemName",
    "Marketing",
    "MemberRef",
    "MemberStatus",
    "Previous",
    "PurposeId",
    "RecipientId",
    "RecipientKind",
    "Role",
    "Sequence",
    "Shape",
    "SuspendedName",
    "Uuid",
]

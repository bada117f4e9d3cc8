"""Request bodies, parsed strictly: unknown fields are refused, absence never means yes (PIPA decree 17)."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, EmailStr, Field, StringConstraints, model_validator

from schemas.base import ItemName, RecipientId

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Password = Annotated[str, StringConstraints(min_length=8, max_length=256)]
Email = Annotated[EmailStr, StringConstraints(max_length=254)]
NoticeVersion = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Code = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[\w .:()/①-⑳-]+$")]
MarketingChannel = Literal["use", "email", "sms", "night"]


class Body(BaseModel):
    """Base of request bodies."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class ProfileBody(BaseModel):
    """A service, a role and that role's items, whose names and rules are policy data (6.2), not this model's."""

    model_config = ConfigDict(extra="allow")

    service: Annotated[str, StringConstraints(max_length=40)]
    role: Annotated[str, StringConstraints(max_length=40)] | None = None

    def items(self) -> dict[str, Any]:
        """Return the items beside service and role."""
        return dict(self.model_extra or {})


class MarketingBody(Body):
    """The three marketing consents of sign-up; each absent one is no."""

    use: bool = False
    email: bool = False
    sms: bool = False
    night: bool = False


class ConsentsBody(Body):
    """What the member agreed to. `collection` is needed for membership; the others never are."""

    collection: bool = False
    sharing: bool | dict[RecipientId, bool] = False
    marketing: MarketingBody = Field(default_factory=MarketingBody)


class SignUpBody(Body):
    """POST /v1/members."""

    email: Email
    password: Password
    name: Name
    profiles: Annotated[list[ProfileBody], Field(max_length=10)] = Field(default_factory=list)
    birth_date: date | None = None
    consents: ConsentsBody
    notice_version: NoticeVersion


class CorrectionBody(Body):
    """PATCH /v1/members/{ref}: at least one field; profiles named are changed, others stay."""

    email: Email | None = None
    name: Name | None = None
    password: Password | None = None
    profiles: Annotated[list[ProfileBody], Field(max_length=10)] | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> "CorrectionBody":
        if not self.model_fields_set:
            raise ValueError("empty")
        for name in self.model_fields_set:
            if getattr(self, name) is None:
                raise ValueError("null")
        return self


class ConsentBody(Body):
    """PUT /v1/members/{ref}/consents/{purpose}. Absent recipients or senders mean all affiliates."""

    granted: bool
    recipients: Annotated[list[RecipientId], Field(min_length=1, max_length=20)] | None = None
    senders: Annotated[list[RecipientId], Field(min_length=1, max_length=20)] | None = None
    channel: MarketingChannel | None = None
    notice_version: NoticeVersion


class DisclosureBody(Body):
    """POST /v1/members/{ref}/disclosures: items given to a third party, for which purpose, on what basis."""

    recipient: RecipientId
    items: Annotated[list[ItemName], Field(min_length=1, max_length=30)]
    purpose: Code
    basis: Code


class AcknowledgementBody(Body):
    """POST /v1/notices/{id}/acknowledgement."""

    outcome: Literal["corrected", "not_held", "refused"]
    reason: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,62}$")] | None = None


class KeysBody(Body):
    """POST /v1/keys."""

    kids: Annotated[list[Annotated[str, StringConstraints(max_length=200)]], Field(max_length=1000)]

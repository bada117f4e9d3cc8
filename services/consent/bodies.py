"""Request bodies, parsed strictly: unknown fields are refused, absence never means yes (PIPA decree 17)."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, LiteralString

import orjson
from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from schemas.base import ItemName, RecipientId
from schemas.receipts import CodedValue
from services.runtime.fields import Day, Instant

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
ITEM_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
TEXT_MAX: Final = 2000
PROFILE_MAX: Final = 42
"""Members of a profile: 40 items, a service and a role."""
ARGON2ID: Final = r"^\$argon2id\$v=19\$m=\d{1,8},t=\d{1,4},p=\d{1,3}\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}$"


def _mailbox(text: str) -> str:
    """Return the address in its normal form. Reserved names such as `.test` pass: nothing is sent from here."""
    try:
        return validate_email(text, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError:
        raise PydanticCustomError("email_invalid", "not an e-mail address") from None


def _printable(text: str) -> str:
    """PostgreSQL text cannot hold NUL, and no name or item has a control character."""
    if CONTROL.search(text):
        raise PydanticCustomError("control_character", "a control character")
    return text


def one_error(code: LiteralString, text: LiteralString) -> WrapValidator:
    """Answer one error at the field itself, not one for each shape it could have had."""

    def parsed(value: object, parse: Callable[[object], Any]) -> Any:
        try:
            return parse(value)
        except ValidationError:
            raise PydanticCustomError(code, text) from None

    return WrapValidator(parsed)


def _storable(value: Any) -> Any:
    """Numbers beyond 64 bits have no JSON of ours, nor has what is nested too deep; what they mean is asked later."""
    try:
        orjson.dumps(value)
    except TypeError:
        raise PydanticCustomError("not_storable", "a number beyond 64 bits") from None
    return value


Storable = Annotated[dict[str, Any], AfterValidator(_storable)]
"""A JSON object whose members are not this model's to know."""
Text = Annotated[str, StringConstraints(max_length=TEXT_MAX), AfterValidator(_printable)]
Item = Annotated[Text | list[Text], one_error("item_invalid", "text or a list of texts")]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"\S"),
    AfterValidator(_printable),
]
Reason = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s][^\x00-\x1f\x7f]*$",
    ),
]
"""Why, in words that name no person."""
Password = Annotated[str, StringConstraints(min_length=8, max_length=256)]
PasswordHash = Annotated[str, StringConstraints(pattern=ARGON2ID, max_length=400)]
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254),
    AfterValidator(_mailbox),
    Field(json_schema_extra={"format": "email"}),
]
NoticeVersion = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Code = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[\w .:()/①-⑳-]+$")]
GuardianMethod = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,40}$")]
MarketingChannel = Literal["use", "email", "sms", "night"]
Sharing = Annotated[StrictBool | dict[RecipientId, StrictBool], one_error("sharing_invalid", "true, false or a map")]


class Body(BaseModel):
    """Base of request bodies."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class ProfileBody(BaseModel):
    """A service, a role and that role's items, whose names and rules are policy data (6.2), not this model's."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"maxProperties": PROFILE_MAX})
    __pydantic_extra__: dict[str, Item] = Field(init=False)

    service: Annotated[str, StringConstraints(max_length=40, pattern=r"^[a-z][a-z0-9-]*$")]
    role: Annotated[str, StringConstraints(max_length=40, pattern=r"^[a-z][a-z0-9_-]*$")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _item_names(cls, found: Any) -> Any:
        if isinstance(found, dict) and len(found) > PROFILE_MAX:
            raise PydanticCustomError("too_many_items", "more items than any role has")
        if isinstance(found, dict) and not all(isinstance(k, str) and ITEM_NAME.fullmatch(k) for k in found):
            raise PydanticCustomError("item_name", "an item's name is lower-case ASCII")
        return found

    def items(self) -> dict[str, Any]:
        """Return the items beside service and role."""
        return dict(self.model_extra or {})


class MarketingBody(Body):
    """The three marketing consents of sign-up; each absent one is no."""

    use: StrictBool = False
    email: StrictBool = False
    sms: StrictBool = False
    night: StrictBool = False


class ConsentsBody(Body):
    """What the member agreed to. `collection` is needed for membership; the others never are."""

    collection: StrictBool = False
    sharing: Sharing = False
    marketing: MarketingBody = Field(default_factory=MarketingBody)


class AccountBody(Body):
    """What a sign-up and an imported member have in common."""

    email: Email
    name: Name
    profiles: Annotated[list[ProfileBody], Field(max_length=10)] = Field(default_factory=list)
    birth_date: Day | None = None
    age_declaration: StrictBool | None = None
    """true: 14 or older; false: under 14, so a guardian must consent; absent: by `birth_date`, if given."""

    consents: ConsentsBody
    notice_version: NoticeVersion
    notice_locale: Literal["ko", "en"] = "ko"


class SignUpBody(AccountBody):
    """POST /v1/members."""

    password: Password


class ImportRow(AccountBody):
    """One member of an existing base: a clear password or its argon2id hash, and how consent was given, and when."""

    password: Password | None = None
    password_hash: PasswordHash | None = None
    consented_at: Instant | None = None
    channel: Literal["web", "app", "written", "email", "fax", "phone"] | None = None
    source_id: Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable)] | None = None

    @model_validator(mode="after")
    def _one_password(self) -> "ImportRow":
        if (self.password is None) == (self.password_hash is None):
            raise PydanticCustomError("password_or_hash", "exactly one of password and password_hash")
        return self


class ImportBody(Body):
    """POST /v1/members/import. Rows are parsed one by one: a bad row costs nobody else."""

    rows: Annotated[list[Storable], Field(min_length=1, max_length=200)]


class CorrectionBody(Body):
    """PATCH /v1/members/{ref}: at least one field; profiles named are changed, others stay."""

    email: Email | None = None
    name: Name | None = None
    password: Password | None = None
    profiles: Annotated[list[ProfileBody], Field(max_length=10)] | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> "CorrectionBody":
        if not self.model_fields_set or any(getattr(self, name) is None for name in self.model_fields_set):
            raise PydanticCustomError("nothing_to_correct", "at least one field, and none of them null")
        return self


class ByGuardianBody(Body):
    """How it was verified that the guardian on record consents (PIPA 22-2(1), decree 17-2)."""

    method: GuardianMethod


class ConsentBody(Body):
    """PUT /v1/members/{ref}/consents/{purpose}. Absent recipients or senders mean all affiliates.

    `guardian`: the consent is the guardian's, for a member under 14; sent by those who verify it, never by the child.
    """

    granted: StrictBool
    recipients: Annotated[list[RecipientId], Field(min_length=1, max_length=20)] | None = None
    senders: Annotated[list[RecipientId], Field(min_length=1, max_length=20)] | None = None
    channel: MarketingChannel | None = None
    notice_version: NoticeVersion
    notice_locale: Literal["ko", "en"] = "ko"
    guardian: ByGuardianBody | None = None


class DisclosureBody(Body):
    """POST /v1/members/{ref}/disclosures: items given to a third party, for which purpose, on what basis."""

    recipient: RecipientId
    items: Annotated[list[ItemName], Field(min_length=1, max_length=30)]
    purpose: Code
    basis: Code


class AcknowledgementBody(Body):
    """POST /v1/notices/{id}/acknowledgement. `evidence` is staff's: which document shows the answer."""

    outcome: Literal["corrected", "not_held", "refused"]
    reason: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,62}$")] | None = None
    evidence: CodedValue | None = None


class KeysBody(Body):
    """POST /v1/keys."""

    kids: Annotated[list[Annotated[str, StringConstraints(max_length=200)]], Field(max_length=1000)]


__all__ = [
    "AccountBody",
    "AcknowledgementBody",
    "ConsentBody",
    "ConsentsBody",
    "CorrectionBody",
    "DisclosureBody",
    "ImportBody",
    "ImportRow",
    "KeysBody",
    "MarketingBody",
    "ProfileBody",
    "SignUpBody",
]

"""Request bodies of the registers: codes, references, dates. Free text is taken for an inquiry only, and sealed."""

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from schemas.base import Uuid
from services.consent.bodies import Body
from services.policy.investigations import HALF, PaperKind, Purpose, Stated
from services.runtime.fields import Day, Instant

UNSTORABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
TEXT_MAX = 4000
EARLIEST_YEAR = 2000


def _text(value: str) -> str:
    if UNSTORABLE.search(value):
        raise PydanticCustomError("control_character", "a control character")
    return value


def _of_our_time(value: datetime) -> datetime:
    """No calendar of periods reaches further back, and nothing here is older."""
    if value.year < EARLIEST_YEAR:
        raise PydanticCustomError("instant_too_early", "an instant before this century")
    return value


Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9가-힣][A-Za-z0-9가-힣 ._:/-]{0,79}$")]
"""A paper's or a ticket's number. It is kept in clear: nobody's name belongs in it."""
Past = Annotated[Instant, AfterValidator(_of_our_time)]
"""When something came in or was done; that it is not in the future is for the handler's clock to say."""
Items = Annotated[list[Word], Field(max_length=30)]
LongText = Annotated[str, StringConstraints(min_length=1, max_length=TEXT_MAX), AfterValidator(_text)]
IntakeChannel = Literal["web", "app", "written", "email", "fax", "phone"]


class PaperBody(Body):
    """What the agency presents; `names` are the items it asks for in writing, `valid_until` a warrant's last day."""

    kind: PaperKind
    number: Reference
    issued_on: Day
    states: Annotated[list[Stated], Field(max_length=3)] = Field(default_factory=list)
    names: Items = Field(default_factory=list)
    valid_until: Day | None = None


class InvestigationBody(Body):
    """POST /v1/investigation-requests. Without `member_ref` the agency named nobody we know."""

    agency: Word
    basis: Word
    purpose: Purpose
    paper: PaperBody
    items: Annotated[list[Word], Field(min_length=1, max_length=30)]
    received_at: Past
    member_ref: Uuid | None = None


class ProvisionBody(Body):
    """POST …/decide: what is given of what may be; nothing declines. `restrictions` are told to the agency."""

    provide: Items
    form: Literal["electronic", "written", "copy"]
    restrictions: Annotated[list[Literal["purpose_only", "no_onward", "destroy_after_use"]], Field(max_length=3)] = (
        Field(default_factory=list)
    )


class FollowingPaperBody(Body):
    """POST …/paper: the paper that follows an urgent request."""

    number: Reference


class ReportBody(Body):
    """POST /v1/investigation-reports: the half-yearly report was filed under this reference."""

    half: Annotated[str, StringConstraints(pattern=HALF)]
    reference: Reference


class CheckBody(Body):
    """POST /v1/processors/{id}/checks."""

    outcome: Literal["satisfactory", "findings"]
    reference: Reference
    checked_at: Past | None = None


class InquiryBody(Body):
    """POST /v1/inquiries. Text needs a member, under whose key it is sealed; others leave a reference to outside."""

    subject: Word
    member_ref: Uuid | None = None
    text: LongText | None = None
    channel: IntakeChannel = "web"
    reference: Reference | None = None
    received_at: Past | None = None


class InquiryAnswerBody(Body):
    """POST /v1/inquiries/{id}/answer: a text to a member; to others the answer goes where they asked."""

    text: LongText | None = None


class InquiryToldBody(Body):
    """POST /v1/inquiries/{id}/done: how the member was told the answer."""

    told_by: IntakeChannel

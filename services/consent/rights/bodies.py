"""Bodies of the routes of rights requests, parsed strictly; codes of the catalogue are checked where they are used."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import ItemName, PurposeId
from services.consent.bodies import Body, Code, CorrectionBody, Name
from services.policy.rights import TypeId
from services.runtime.fields import Day, Instant

Channel = Literal["web", "written", "email", "fax", "phone"]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Document = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Items = Annotated[list[ItemName], Field(min_length=1, max_length=40)]

Purposes = Annotated[list[PurposeId], Field(min_length=1, max_length=10)]


class ChangesBody(CorrectionBody):
    """What is right, as in a PATCH of the member, and the account's birth date, which is corrected in no other way.

    A password is set by its owner, never through a request.
    """

    birth_date: Day | None = None

    @model_validator(mode="after")
    def _no_password(self) -> "ChangesBody":
        if self.password is not None:
            raise PydanticCustomError("password_not_by_request", "a password is not corrected through a request")
        return self


class AgentBody(Body):
    """Who acts for the person (5.3): by which document, for which types of request."""

    kind: Literal["mandate", "legal_representative"]
    name: Name | None = None
    document: Document | None = None
    scope: list[TypeId] = Field(default_factory=list, max_length=4)


class RequestBody(Body):
    """POST /v1/rights-requests."""

    member_ref: Annotated[str, StringConstraints(max_length=64)]
    type: TypeId
    channel: Channel
    received_at: Instant | None = None
    items: Items | None = None
    purposes: Purposes | None = None
    changes: ChangesBody | None = None
    agent: AgentBody | None = None


class VerifyBody(Body):
    """How the identity was established and by whom; `agent_method` for the second person where there is an agent."""

    method: Code
    verified_by: Name
    agent_method: Code | None = None


class DeferBody(Body):
    """A reason puts an access off; `reason_ended_at` says that it has ended."""

    reason: Word | None = None
    reason_ended_at: Instant | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "DeferBody":
        if (self.reason is None) == (self.reason_ended_at is None):
            raise PydanticCustomError("reason_or_its_end", "exactly one of reason and reason_ended_at")
        return self


class DecideBody(Body):
    """The answer; `items`, and of a suspension `purposes`, are those granted by a partial one."""

    outcome: Literal["granted", "partial", "refused"]
    ground: Word | None = None
    statute: Word | None = None
    items: Items | None = None
    purposes: Purposes | None = None


class ToldBody(Body):
    """How the person was told the result."""

    told_by: Channel


class ReleaseBody(Body):
    """How staff established who wants the suspension lifted; a member's own token needs none."""

    method: Code
    verified_by: Name

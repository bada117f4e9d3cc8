"""Request bodies about a guardian."""

from typing import Annotated

from pydantic import Field

from services.consent.bodies import Body, GuardianMethod, Name, Text

Contact = Annotated[Text, Field(min_length=3, max_length=200)]


class GuardianBody(Body):
    """Name and contact: all that may be taken of a guardian before the consent (PIPA 22-2(2))."""

    name: Name
    contact: Contact


class NamedGuardianBody(Body):
    """POST /v1/members/{ref}/guardian."""

    guardian: GuardianBody


class GuardianConfirmBody(Body):
    """POST /v1/members/{ref}/guardian/confirm: how it was verified; the guardian, unless named before."""

    method: GuardianMethod
    guardian: GuardianBody | None = None

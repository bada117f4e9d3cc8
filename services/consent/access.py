"""Who may ask what: the caller from the bearer token, object-level checks, and the Idempotency-Key of a request."""

import re
import uuid
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request, Response

from schemas.base import ActorKind
from schemas.envelope import TRACE
from services.consent import idempotency
from services.consent.handlers import Caller, Consent
from services.consent.idempotency import Answer, Key
from services.consent.refusals import account_unconfirmed, forbidden, not_found
from services.runtime.auth import Principal
from services.runtime.bearer import principal_of
from services.runtime.problem import Problem

KEY_PATTERN: Final = re.compile(r"[\x21-\x7e]{1,255}")
STAFF: Final = ("compliance", "cpo", "sre")
READERS: Final = (*STAFF, "auditor")
"""Staff, and who reads what they read and does nothing else."""
OFFICERS: Final = ("compliance", "cpo")
"""Staff who answer for personal data; an `sre` runs the system and sees no register of clause 3.3."""
AFFILIATE_DESK: Final = "affiliate_desk"
"""An affiliate's people at the console: they take in requests and see its lag, and get none of its keys or records."""


@dataclass(frozen=True)
class Asked:
    """One authenticated request: the handlers' dependencies, who asks, and its Idempotency-Key."""

    consent: Consent
    principal: Principal
    request: Request
    idempotency_key: str | None = None

    def caller(self) -> Caller:
        """Return the caller as the handlers know it."""
        actor: ActorKind = "member" if self.principal.has("member") else "service"
        trace = self.request.headers.get("traceparent", "")
        return Caller(self.principal.sub, actor, "web", trace if TRACE.fullmatch(trace) else None)

    def member(self, ref: str, *, staff: bool = False) -> str:
        """Return the canonical reference when the caller may act on it; 403 for the wrong role, 404 for another's."""
        try:
            canonical = str(uuid.UUID(ref))
        except ValueError as error:
            raise not_found() from error
        if self.principal.has("service") or (staff and self.principal.has(*READERS)):
            return canonical
        if self.principal.has("member"):
            if self.principal.sub == canonical:
                return canonical
            raise not_found()
        raise forbidden()

    def key(self, body: Any, *, required: bool) -> Key | None:
        """Return the idempotency key of this request; 400 when it is required and absent, or ill-formed."""
        value = self.idempotency_key
        if value is None:
            if required:
                raise Problem(
                    400,
                    "idempotency_key_required",
                    "Idempotency-Key 헤더가 필요합니다. 요청마다 새 UUID를 쓰세요.",
                    "Send an Idempotency-Key header, a new UUID for each request.",
                )
            return None
        if not KEY_PATTERN.fullmatch(value):
            raise Problem(
                400,
                "idempotency_key_invalid",
                "Idempotency-Key는 1~255자의 ASCII여야 합니다.",
                "An Idempotency-Key is 1 to 255 visible ASCII characters.",
            )
        mac = idempotency.mac(self.consent.index_key, self.request.method, self.request.url.path, body)
        return Key(self.principal.sub, value, mac)

    def require(self, *roles: str) -> Principal:
        """Return the principal when it has one of the roles; 403 otherwise."""
        if not self.principal.has(*roles):
            raise forbidden()
        return self.principal

    def require_confirmed(self, *roles: str) -> Principal:
        """The same, for a step that takes two persons; 403 too for an account only its maker answers for."""
        principal = self.require(*roles)
        if principal.unconfirmed:
            raise account_unconfirmed()
        return principal


async def asked(request: Request, principal: Annotated[Principal, Depends(principal_of)]) -> Asked:
    """FastAPI dependency: authenticate the request. 401 with a challenge when the token is not good."""
    return Asked(request.app.state.consent, principal, request)


async def asked_to_write(
    ask: Annotated[Asked, Depends(asked)],
    idempotency_key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="Required on POST; the answer is kept 24 h per caller"),
    ] = None,
) -> Asked:
    """FastAPI dependency of what changes something: the request with its Idempotency-Key."""
    return replace(ask, idempotency_key=idempotency_key)


Ask = Annotated[Asked, Depends(asked)]
Write = Annotated[Asked, Depends(asked_to_write)]


def send(response: Response, answer: Answer) -> dict[str, Any]:
    """Put a stored or fresh answer's status and entity tag on the response; return its body."""
    response.status_code = answer.status
    if answer.etag:
        response.headers["ETag"] = answer.etag
    return answer.body

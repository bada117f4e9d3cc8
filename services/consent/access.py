"""Who may ask what: the caller from the bearer token, object-level checks, and the Idempotency-Key of a request."""

import re
import uuid
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from services.consent import idempotency
from services.consent.handlers import Caller, Consent, not_found
from services.consent.idempotency import Key
from services.runtime.auth import AuthError, Principal
from services.runtime.problem import Problem

KEY_PATTERN = re.compile(r"^[\x21-\x7e]{1,255}$")
STAFF = ("compliance", "cpo", "sre")


@dataclass(frozen=True)
class Asked:
    """One authenticated request: the handlers' dependencies, who asks, and its traceparent."""

    consent: Consent
    principal: Principal
    request: Request

    def caller(self) -> Caller:
        """Return the caller as the handlers know it."""
        actor = "member" if self.principal.has("member") else "service"
        trace = self.request.headers.get("traceparent")
        valid = trace if trace and re.fullmatch(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", trace) else None
        return Caller(self.principal.sub, actor, "web", valid)  # type: ignore[arg-type]

    def member(self, ref: str, *, staff: bool = False) -> str:
        """Return the reference in canonical form when the caller may act on it; 403 for the wrong role, 404 for another's."""
        try:
            canonical = str(uuid.UUID(ref))
        except ValueError as error:
            raise not_found() from error
        if self.principal.has("service") or (staff and self.principal.has(*STAFF)):
            return canonical
        if self.principal.has("member"):
            if self.principal.sub == canonical:
                return canonical
            raise not_found()
        raise forbidden()

    def key(self, body: Any, *, required: bool) -> Key | None:
        """Return the idempotency key of this request; 400 when it is required and absent, or ill-formed."""
        value = self.request.headers.get("idempotency-key")
        if value is None:
            if required:
                raise Problem(
                    400,
                    "idempotency_key_required",
                    "Idempotency-Key 헤더가 필요합니다. 요청마다 새 UUID를 쓰세요.",
                    "Send an Idempotency-Key header, a new UUID for each request.",
                )
            return None
        if not KEY_PATTERN.match(value):
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


async def asked(request: Request) -> Asked:
    """FastAPI dependency: authenticate the request. 401 with a challenge when the token is not good."""
    try:
        principal = await request.app.state.authenticator.principal(request.headers.get("authorization"))
    except AuthError as error:
        raise Problem(
            error.status,
            error.code,
            "유효한 Bearer 토큰이 필요합니다.",
            "A valid bearer token is needed.",
            headers={"WWW-Authenticate": "Bearer"},
        ) from error
    return Asked(request.app.state.consent, principal, request)


def forbidden() -> Problem:
    """The refusal of a caller whose role does not allow the request."""
    return Problem(403, "forbidden", "이 요청을 할 권한이 없습니다.", "Your role does not allow this request.")

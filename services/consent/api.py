"""The consent service's HTTP application: routes parse, ask a handler, answer. Nothing is decided here."""

from typing import Any, Final

from fastapi import Depends, FastAPI, Request, Response
from fastapi.security import HTTPBearer
from starlette.types import ASGIApp, Receive, Scope, Send

from services.consent import api_changes, api_duties, api_import, api_keys, api_members, api_records
from services.consent.canaries import api as canaries
from services.consent.corrections import api as corrections
from services.consent.decisions import api as decisions
from services.consent.dormancy import api as dormancy
from services.consent.erasure import api as erasure
from services.consent.erasure.issue import Issuer
from services.consent.guardians import api as guardians
from services.consent.handlers import Consent
from services.consent.holdings import api as holdings
from services.consent.letters import api as letters
from services.consent.messages import api as messages
from services.consent.messages import opt_out_api
from services.consent.registers import api as registers
from services.consent.replays import api as replays
from services.consent.rights import api as rights
from services.keyring.keyring import KeyDestroyedError
from services.runtime import probes, problems
from services.runtime.auth import Authenticator
from services.runtime.probes import Ready

BODY_BYTES_MAX = 256 * 1024
PROBLEM: Final[dict[str, Any]] = {
    "description": "A problem (RFC 9457), in Korean or English; it never repeats the rejected value",
    "content": {"application/problem+json": {"schema": {"type": "object"}}},
}
NO_CERTIFICATES: Final = Issuer()
ROUTERS: Final = (
    api_members.router,
    api_import.router,
    api_changes.router,
    api_keys.router,
    api_duties.router,
    api_records.router,
    corrections.router,
    decisions.router,
    guardians.router,
    messages.router,
    opt_out_api.router,
    rights.router,
    dormancy.router,
    registers.router,
    erasure.router,
    replays.router,
    holdings.router,
    letters.router,
    canaries.router,
)


def create(
    consent: Consent, authenticator: Authenticator, ready: Ready, certificates: Issuer = NO_CERTIFICATES
) -> FastAPI:
    """Return the application. `ready` says which dependency answers, `certificates` issues those of destructions."""
    app = FastAPI(
        title="Dongui consent service",
        version="1",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        summary="One member changes one thing once; every affiliate and third party provably follows.",
        responses={"4XX": PROBLEM, 422: PROBLEM},
    )
    app.state.consent = consent
    app.state.authenticator = authenticator
    app.state.certificates = certificates
    problems.install(app)
    app.add_exception_handler(KeyDestroyedError, _erased)
    app.add_middleware(BoundedBodies)
    bearer = Depends(HTTPBearer(auto_error=False, description="A token of the issuer; its roles decide"))
    for router in ROUTERS:
        app.include_router(router, dependencies=[bearer])
    probes.install(app, ready)
    return app


async def _erased(request: Request, _: Exception) -> Response:
    """A member whose key is destroyed takes no command, even while a restored database still shows the member."""
    erased = problems.Problem(409, "member_erased", "파기된 회원입니다.", "The member is erased.")
    return problems.response(request, erased)


class BoundedBodies:
    """ASGI middleware: a body has a length, and one that is small enough to be read into memory."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 before a byte of the body is read."""
        if scope["type"] != "http" or _bounded(Request(scope)):
            await self._app(scope, receive, send)
            return
        too_large = problems.Problem(
            413,
            "body_too_large",
            f"본문은 {BODY_BYTES_MAX}바이트 이하여야 하며 Content-Length가 필요합니다.",
            f"Send at most {BODY_BYTES_MAX} bytes, with a Content-Length.",
            headers={"Connection": "close"},
        )
        await problems.response(Request(scope), too_large)(scope, receive, send)


def _bounded(request: Request) -> bool:
    length = request.headers.get("content-length", "0")
    chunked = "transfer-encoding" in request.headers
    return not chunked and length.isdecimal() and int(length) <= BODY_BYTES_MAX

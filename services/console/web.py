"""The console's HTTP application: headers, static files, what an error looks like, and the pages."""

from importlib.resources import files
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.console.apis import AwayError, RefusedError
from services.console.desk import (
    Desk,
    FormRefusedError,
    NotForYouError,
    SignInNeededError,
    Visit,
    language_of,
)
from services.console.pages import (
    accounts,
    audit,
    changes,
    deliveries,
    entrance,
    erasures,
    home,
    members,
    replays,
    retention,
    rights,
)
from services.console.words import Words
from services.runtime import probes, traced
from services.runtime.postgres import DATABASE_ERRORS
from services.runtime.probes import Ready
from services.runtime.traced import NO_TELEMETRY

BODY_BYTES_MAX: Final = 400 * 1024
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",  # with `no-referrer` browsers send a form of ours with "Origin: null"
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
}
UNSTORED: Final = (b"cache-control", b"no-store")
STATIC: Final = "/static/"
HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
MODULES: Final = (
    entrance, home, changes, members, rights, erasures, deliveries, retention, audit, replays, accounts
)  # fmt: skip


def create(desk: Desk, ready: Ready) -> FastAPI:
    """Return the application. `ready` says which dependency answers."""
    app = FastAPI(telemetry=NO_TELEMETRY, title="Dongui console", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.desk = desk
    for module in MODULES:
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=str(files("services.console").joinpath("static"))), name="static")
    app.add_middleware(Guarded, secure=desk.cookies.secure)
    _explain(app)
    probes.install(app, ready)
    traced.install(app)
    return app


class Guarded:
    """ASGI middleware: the headers of every answer, and no body larger than a form of ours."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 before a byte of too large a body is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        cached = scope["path"].startswith(STATIC)
        extra = [*HEADERS.items(), *([] if cached else [UNSTORED]), *([HSTS] if self._secure else [])]

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        if _small(Request(scope)):
            await self._app(scope, receive, guarded)
        else:
            await Response(status_code=413, headers={"Connection": "close"})(scope, receive, guarded)


def _small(request: Request) -> bool:
    length = request.headers.get("content-length", "0")
    chunked = "transfer-encoding" in request.headers
    return not chunked and length.isdecimal() and int(length) <= BODY_BYTES_MAX


def _explain(app: FastAPI) -> None:
    """Make every error a page in the person's language, with a code and the next step."""

    async def sign_in(request: Request, _: Exception) -> Response:
        where = request.url.path if request.method == "GET" else "/"
        target = f"/sign-in?next={quote(where)}"
        if request.headers.get("hx-request"):
            return Response(status_code=204, headers={"HX-Redirect": target})
        return RedirectResponse(target, status_code=303)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        status = 404 if error.status in {404, 422} else error.status
        return _error(request, status, error.code, error.detail)

    async def away(request: Request, error: Exception) -> Response:
        service = error.service if isinstance(error, AwayError) else "console"
        return _error(request, 503, f"{service}_away")

    async def not_for_you(request: Request, _: Exception) -> Response:
        return _error(request, 403, "not_for_you")

    async def form_refused(request: Request, _: Exception) -> Response:
        return _error(request, 403, "form_refused")

    async def http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return _error(request, status, f"http_{status}")

    app.add_exception_handler(SignInNeededError, sign_in)
    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(AwayError, away)
    app.add_exception_handler(NotForYouError, not_for_you)
    app.add_exception_handler(FormRefusedError, form_refused)
    app.add_exception_handler(HTTPException, http)
    for passing in DATABASE_ERRORS:
        app.add_exception_handler(passing, away)


def _error(request: Request, status: int, code: str, detail: str = "") -> Response:
    desk: Desk = request.app.state.desk
    visit = Visit(desk, request, Words(language_of(request)))
    body = visit.render("error.html", status=status, code=code, detail=detail)
    return HTMLResponse(body, status_code=status)

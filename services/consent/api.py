"""The consent service's HTTP application: routes parse, ask a handler, answer. Nothing is decided here."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.consent import api_changes, api_keys, api_members
from services.consent.handlers import Consent
from services.runtime import problems
from services.runtime.auth import Authenticator

BODY_BYTES_MAX = 256 * 1024
Ready = Callable[[], Awaitable[dict[str, bool]]]


def create(consent: Consent, authenticator: Authenticator, ready: Ready) -> FastAPI:
    """Return the application. `ready` says which dependency answers."""
    app = FastAPI(
        title="Dongui consent service",
        version="1",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        summary="One member changes one thing once; every affiliate and third party provably follows.",
    )
    app.state.consent = consent
    app.state.authenticator = authenticator
    problems.install(app)
    _limit_bodies(app)
    for router in (api_members.router, api_changes.router, api_keys.router):
        app.include_router(router)
    _health(app, ready)
    return app


def _limit_bodies(app: FastAPI) -> None:
    @app.middleware("http")
    async def limit(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length", "0")
        if (
            "chunked" in request.headers.get("transfer-encoding", "")
            or not length.isdigit()
            or int(length) > BODY_BYTES_MAX
        ):
            too_large = problems.Problem(
                413,
                "body_too_large",
                f"본문은 {BODY_BYTES_MAX}바이트 이하여야 합니다.",
                f"Send at most {BODY_BYTES_MAX} bytes with a Content-Length.",
            )
            return problems.response(request, too_large)
        return await call_next(request)


def _health(app: FastAPI, ready: Ready) -> None:
    @app.get("/livez", include_in_schema=False)
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz(response: Response) -> dict[str, bool]:
        checks = await ready()
        response.status_code = 200 if all(checks.values()) else 503
        return checks

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

"""The span of one HTTP request: its method, the route's template and the status. Never the path: it names members."""

from typing import Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from opentelemetry.trace import SpanKind
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.envelope import TRACE, TRACEPARENT
from services.runtime import tracing

UNTRACED: Final = frozenset({"/livez", "/readyz", "/metrics"})
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_TELEMETRY: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own spans carry the path and the query, its logs the text of errors: whatever else is configured, none."""


def install(app: FastAPI) -> None:
    """Trace every request of an application, around all that was added before."""
    app.add_middleware(TracedRequests)


class TracedRequests:
    """ASGI middleware: a span around each request, below the caller's `traceparent`; nothing while traces are off."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request inside its span."""
        if not tracing.is_on() or scope["type"] != "http" or scope["path"] in UNTRACED:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        asked: tracing.Attributes = {"http.request.method": method}
        with tracing.span(method, SpanKind.SERVER, asked, parent=_parent(scope)) as opened:

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    tracing.note(opened, {"http.response.status_code": status})
                    if status >= 500:
                        tracing.fail(opened, str(status))
                await send(message)

            try:
                await self._app(scope, receive, noted)
            finally:
                if (route := _route(scope)) is not None and opened is not None:
                    opened.update_name(f"{method} {route}")
                    tracing.note(opened, {"http.route": route})


def _parent(scope: Scope) -> str | None:
    told = Headers(scope=scope).get(TRACEPARENT, "")
    return told if TRACE.fullmatch(told) else None


def _route(scope: Scope) -> str | None:
    """The template of the route that was found, such as `/v1/members/{ref}`; None when there was none."""
    return getattr(scope.get("route"), "path", None)

"""The three paths every HTTP process serves beside its API: /livez, /readyz and /metrics.

Liveness looks at no dependency, only at our own loops; readiness answers 503 with the one that does not answer.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.runtime import pulse

PATHS: Final = frozenset({"/livez", "/readyz", "/metrics"})
Ready = Callable[[], Awaitable[dict[str, bool]]]
"""Says for each dependency whether it answers."""


def install(app: FastAPI, ready: Ready) -> None:
    """Add the three paths to an application; they are not in its OpenAPI document."""

    @app.get("/livez", include_in_schema=False)
    async def livez(response: Response) -> dict[str, Any]:
        return _alive(response, pulse.stalled())

    @app.get("/readyz", include_in_schema=False)
    async def readyz(response: Response) -> dict[str, bool]:
        checks = await ready()
        response.status_code = 200 if all(checks.values()) else 503
        return checks

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _alive(response: Response, stalled: list[str]) -> dict[str, Any]:
    response.status_code = 503 if stalled else 200
    return {"status": "stalled", "stalled": stalled} if stalled else {"status": "ok"}

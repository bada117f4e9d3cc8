"""Health of a process that has no API of its own: /livez, /readyz and /metrics on one small server.

Liveness says "restart me" and looks at our own loops, at no dependency; readiness names the one that does not answer.
"""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.runtime import pulse

READY_TIMEOUT_S = 5.0
SHUTDOWN_TIMEOUT_S = 1.0

Live = Callable[[], bool]
Ready = Callable[[], Awaitable[dict[str, bool]]]


class HealthServer:
    """Serves the three paths. `port` 0 takes a free one; `port` after `start()` is the real one."""

    def __init__(self, host: str, port: int, *, live: Live, ready: Ready) -> None:
        self.host = host
        self.port = port
        self._live = live
        self._ready = ready
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; raise OSError when the port is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", _metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close the listener and its connections; harmless when not started."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        stalled = pulse.stalled()
        if self._live() and not stalled:
            return _json({"status": "ok"}, 200)
        return _json({"status": "stalled", "stalled": stalled}, 503)

    async def _readyz(self, request: web.Request) -> web.Response:
        checks = await checked(self._ready)
        failed = sorted(name for name, ok in checks.items() if not ok)
        body: dict[str, object] = {"ready": not failed, "failed": failed}
        if "verbose" in request.query:
            body["checks"] = checks
        return _json(body, 503 if failed else 200)


async def checked(ready: Ready) -> dict[str, bool]:
    """Run the readiness checks; one that takes too long or raises is a failure called `check`."""
    try:
        return await asyncio.wait_for(ready(), READY_TIMEOUT_S)
    except Exception:  # noqa: BLE001 - a probe answers; the reason may carry a DSN, so it goes nowhere
        return {"check": False}


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _json(body: dict[str, object], status: int) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")

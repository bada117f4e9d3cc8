"""Receivers of a third party as a test needs them: any answer, and what they were asked."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Asked:
    """One POST that came."""

    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


Answer = Callable[[Asked], tuple[int, Any]]


@contextlib.asynccontextmanager
async def serving(
    answer: Answer, routes: Sequence[web.RouteDef] = (), headers: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[str, list[Asked]]]:
    """A receiver on this machine: `answer` says status and JSON (None: no body), with these headers."""
    asked: list[Asked] = []

    async def take(request: web.Request) -> web.Response:
        sent = {name.lower(): value for name, value in request.headers.items()}
        asked.append(Asked(sent, await request.read()))
        status, said = answer(asked[-1])
        return web.Response(
            status=status,
            text="" if said is None else json.dumps(said),
            headers=headers,
            content_type="application/json",
        )

    server = web.Application()
    server.add_routes([web.post("/webhook", take), *routes])
    runner = web.AppRunner(server, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/webhook", asked
    finally:
        await runner.cleanup()

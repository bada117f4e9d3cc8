"""How a process of ours serves HTTP beside what else it does: one set of rules, one way to end."""

import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import uvicorn

from services.runtime import pulse
from services.runtime.connection import BoundedProtocol

STOP_TIMEOUT_S = 8.0
"""Below the ten seconds an orchestrator gives."""

Works = Callable[[asyncio.Event], Iterable[Any]]
"""Makes the coroutines that run beside the API until the event is set."""


def config(app: Any, host: str, port: int, *, concurrency: int, proxies: Sequence[str]) -> uvicorn.Config:
    """Return the HTTP server's configuration; no access log (URLs name members).

    `concurrency` is how many connections and requests there may be at once; one more is answered 503. `proxies` are
    the addresses and networks whose X-Forwarded-For is believed: the client is the last in it that is none of them.
    """
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=list(proxies),
        timeout_graceful_shutdown=5,
        limit_concurrency=concurrency,
    )


async def serve(server_config: uvicorn.Config, works: Works) -> None:
    """Serve until SIGTERM or SIGINT; the end of one part ends all. Raises what ended one."""
    stop = asyncio.Event()
    server = uvicorn.Server(server_config)
    tasks = [asyncio.create_task(work) for work in (*works(stop), pulse.guard(stop))]
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    server.should_exit = True
    await _end([serving, *tasks])


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Let the tasks finish; cut off what still waits for a broker that is away. Raises what ended one."""
    _, late = await asyncio.wait(tasks, timeout=STOP_TIMEOUT_S)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in tasks:
        if not task.cancelled():
            task.result()

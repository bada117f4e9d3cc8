"""One POST to one third party: no redirect, no cookie, no proxy, a time limit and a small bit of the answer."""

import asyncio
import time
from typing import Final

import aiohttp

from services.propagator.notices import egress
from services.propagator.notices.endpoints import Endpoint
from services.propagator.notices.model import Reply

TIMEOUT_S: Final = 20.0
ANSWER_BYTES_MAX: Final = 4096
CONNECTIONS_PER_HOST: Final = 16
FIXED_HEADERS: Final = {
    "Content-Type": "application/json",
    "User-Agent": "dongui-notices/1",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}


def session(*, production: bool, timeout_s: float = TIMEOUT_S) -> aiohttp.ClientSession:
    """Return the client of all endpoints; call it inside the running loop and close it after."""
    connector = aiohttp.TCPConnector(
        socket_factory=egress.socket_factory(production=production),
        limit=0,  # over all: else the dead would take the places of the living
        limit_per_host=CONNECTIONS_PER_HOST,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        auto_decompress=False,
        trust_env=False,
    )


async def post(client: aiohttp.ClientSession, endpoint: Endpoint, headers: dict[str, str], body: bytes) -> Reply:
    """Return what came back; a failure to get anything is an answer too, by the class of its error."""
    began = time.monotonic()
    try:
        async with client.post(
            endpoint.url, data=body, headers=FIXED_HEADERS | headers, allow_redirects=False
        ) as answer:
            start = await _start_of(answer.content)
            return Reply(
                milliseconds=_since(began),
                status=answer.status,
                body=start,
                retry_after=answer.headers.get("Retry-After"),
            )
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return Reply(milliseconds=_since(began), error=_class_of(error))


async def _start_of(content: aiohttp.StreamReader) -> bytes:
    """Read a short body whole; of a longer one nothing counts, so it is not read on."""
    try:
        await content.readexactly(ANSWER_BYTES_MAX + 1)
    except asyncio.IncompleteReadError as whole:
        return whole.partial
    return b""


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)


def _class_of(error: BaseException) -> str:
    """The class only: the text may hold an address or what the receiver sent."""
    cause = getattr(error, "os_error", None) or error.__cause__
    return type(cause if isinstance(cause, egress.EgressRefusedError) else error).__name__

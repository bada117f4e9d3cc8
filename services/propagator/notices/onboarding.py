"""What is sent to an endpoint besides notices: the question whether it is its third party's, and a test.

Neither carries anything about a person. Both are signed like a notice, so a receiver verifies before it answers.
"""

import asyncio
import contextlib
import secrets
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson
import structlog

from services.propagator.notices import post
from services.propagator.notices.endpoints import Endpoint, EndpointError
from services.propagator.notices.model import Reply
from services.propagator.notices.registry import Registered, Registry
from services.propagator.notices.signing import Signer
from services.runtime.clock import Clock
from services.runtime.postgres import DATABASE_ERRORS

CHALLENGE_TYPE: Final = "kr.dongui.endpoint.challenge.v1"
PING_TYPE: Final = "kr.dongui.endpoint.ping.v1"
WELL_KNOWN: Final = "/.well-known/dongui-challenge.txt"
TOKEN_BYTES: Final = 24
PAUSES_S: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
log = structlog.get_logger("notices")


async def challenge(client: aiohttp.ClientSession, signer: Signer, endpoint: Endpoint, clock: Clock) -> str | None:
    """Ask for a random token back, as `{"challenge": token}`. Return why the answer proves nothing, or None."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    reply = await _send(client, signer, endpoint, clock(), CHALLENGE_TYPE, {"challenge": token})
    if not reply.is_success:
        return _failure(reply)
    try:
        said = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict) or said.get("challenge") != token:
        return f'it answered {reply.status}, but not with {{"challenge": "<the token it was sent>"}}'
    return None


async def well_known(client: aiohttp.ClientSession, found: Registered) -> str | None:
    """Look for the registered token at `/.well-known/` of the endpoint's host. Return what is wrong, or None."""
    parts = urlsplit(found.endpoint.url)
    reply = await post.get(client, f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}")
    if not reply.is_success:
        return f"{WELL_KNOWN}: {_failure(reply)}"
    if reply.body.strip() != found.challenge.encode():
        return f"{WELL_KNOWN} holds something else than the token of this endpoint"
    return None


async def ping(client: aiohttp.ClientSession, signer: Signer, endpoint: Endpoint, clock: Clock) -> Reply:
    """Send a signed test; a receiver that works answers 2xx."""
    return await _send(client, signer, endpoint, clock(), PING_TYPE, {})


def ping_failure(reply: Reply) -> str | None:
    """Return what is wrong with the answer to a ping, or None."""
    return None if reply.is_success else _failure(reply)


async def _send(
    client: aiohttp.ClientSession, signer: Signer, endpoint: Endpoint, at: datetime, kind: str, data: dict[str, Any]
) -> Reply:
    body = body_of(kind, at, data | {"recipient": endpoint.recipient})
    headers = signer.headers(str(uuid.uuid4()), at, body, *endpoint.secrets)
    return await post.post(client, endpoint, headers, body)


def body_of(kind: str, at: datetime, data: dict[str, Any]) -> bytes:
    """Return a message's JSON in the shape of Standard Webhooks."""
    return orjson.dumps({"type": kind, "timestamp": at, "data": data})


def _failure(reply: Reply) -> str:
    if reply.status is None:
        return f"no answer ({reply.error})"
    redirect = " (redirects are not followed)" if 300 <= reply.status < 400 else ""
    return f"it answered {reply.status}{redirect}"


async def prove_declared(
    registry: Registry, names: Iterable[str], client: aiohttp.ClientSession, signer: Signer, stop: asyncio.Event
) -> None:
    """Challenge the endpoints that the settings name until each has answered, or `stop`."""
    await asyncio.gather(*(_until_proved(registry, name, client, signer, stop) for name in names))


async def _until_proved(
    registry: Registry, name: str, client: aiohttp.ClientSession, signer: Signer, stop: asyncio.Event
) -> None:
    attempt = 0
    while not stop.is_set() and not await _proved(registry, name, client, signer):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
        attempt += 1


async def _proved(registry: Registry, name: str, client: aiohttp.ClientSession, signer: Signer) -> bool:
    """Look at one endpoint once; whatever is in the way is there to be looked at again."""
    try:
        found = await registry.find(name)
        if found.verified_by in {"challenge", "file"}:
            return True
        if why := await challenge(client, signer, found.endpoint, registry.clock):
            log.warning("third_party_not_verified", recipient=name, why=why)
            return False
        await registry.prove(found, "challenge")
    except (EndpointError, *DATABASE_ERRORS) as error:
        log.warning("third_party_not_verified", recipient=name, why=type(error).__name__)
        return False
    log.info("third_party_verified", recipient=name)
    return True

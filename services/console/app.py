"""Composition root of the console: pages and relay on one event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import asyncpg
import uvicorn
from argon2 import PasswordHasher

from services.console import admin, desk, web
from services.console.apis import Apis
from services.console.cookies import Cookies, origin_of
from services.console.desk import Desk
from services.console.keys import ConsoleKey
from services.console.model import SIGN_INS_PER_S
from services.console.oidc import Provider
from services.console.signin import Gate
from services.policy.model import load
from services.runtime import backlog, kafka, postgres, serving
from services.runtime.clock import Clock, utc_now
from services.runtime.passwords import password_hasher
from services.runtime.postgres import DATABASE_ERRORS
from services.runtime.rates import Rates
from services.runtime.relay import Relay
from services.runtime.settings import Settings

NAME: Final = "dongui-console"
REQUIRED: Final = (
    "kafka",
    "console_dsn",
    "console_key_file",
    "console_url",
    "consent_url",
    "audit_url",
    "retention_url",
)
POOL_SIZE: Final = 6
READY_TIMEOUT_S: Final = 2.0
DUMMY_PASSWORD: Final = "nobody has this password"  # noqa: S105 - it opens nothing


@dataclass(frozen=True)
class Parts:
    """What the process works with."""

    settings: Settings
    desk: Desk
    relay: Relay


@contextlib.asynccontextmanager
async def build(
    settings: Settings, clock: Clock = utc_now, hasher: PasswordHasher | None = None
) -> AsyncIterator[Parts]:
    """Open what the process needs and close it after.

    Raises MissingSettingsError, InsecureConsoleError, PolicyError, OSError, ValueError.
    """
    settings.require(*REQUIRED)
    cookies = Cookies.of_url(settings.console_url or "", settings.profile)
    provider = Provider.of_settings(settings)
    dsn = settings.secret("console_dsn")
    relay = Relay(dsn, partial(kafka.producer, settings), prefix=settings.topic_prefix, application="console-relay")
    pool = await postgres.wait_for_pool(dsn, size=POOL_SIZE, application=NAME)
    apis = Apis.of_settings(settings)
    try:
        gate = _gate(settings, pool, relay, clock, hasher or password_hasher())
        if settings.console_first_accounts_file:
            await admin.ensure_first(gate, settings.console_first_accounts_file)
        origin = origin_of(settings.console_url or "")
        yield Parts(settings, Desk(gate, apis, cookies, provider, desk.environment(), origin), relay)
    finally:
        await apis.close()
        if provider:
            await provider.close()
        pool.terminate()


def _gate(settings: Settings, pool: asyncpg.Pool, relay: Relay, clock: Clock, hasher: PasswordHasher) -> Gate:
    assert settings.console_key_file
    key = ConsoleKey(settings.console_key_file, settings.issuer, settings.audience)
    affiliates = frozenset(load(settings.affiliates_dir).affiliates)
    rates = Rates(SIGN_INS_PER_S, SIGN_INS_PER_S)
    return Gate(pool, key, hasher, clock, relay.nudge, hasher.hash(DUMMY_PASSWORD), affiliates, rates)


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises what `build` raises."""
    async with build(settings) as parts:
        await serving.serve(server_config(parts), partial(_works, parts))


def _works(parts: Parts, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
    """What runs beside the pages until `stop`."""
    return [parts.relay.run(stop), backlog.watch(parts.desk.gate.pool, "console-relay", stop)]


def server_config(parts: Parts) -> uvicorn.Config:
    """Return the HTTP server's configuration; no access log (URLs name members)."""
    app = web.create(parts.desk, partial(_ready, parts.desk.gate.pool))
    settings = parts.settings
    return serving.config(
        app, settings.console_host, settings.console_port, concurrency=128, proxies=settings.trusted_proxies
    )


async def _ready(pool: asyncpg.Pool) -> dict[str, bool]:
    try:
        await asyncio.wait_for(pool.fetchval("SELECT 1 FROM account LIMIT 1"), READY_TIMEOUT_S)
    except DATABASE_ERRORS:
        return {"postgres": False}
    return {"postgres": True}

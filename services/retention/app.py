"""Composition root of the retention process: follower, sweep, relay and API on one event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import aiohttp
import asyncpg
import uvicorn

from schemas.topics import RECEIPTS, RETENTION
from services.keyring.kek import KekProvider
from services.keyring.provider import open_kek, required
from services.retention import api, holds, sweep
from services.retention.handlers import Intake
from services.retention.keys import RecordKeys
from services.retention.readings import Vault
from services.runtime import backlog, kafka, postgres, serving
from services.runtime.auth import Authenticator
from services.runtime.clock import utc_now
from services.runtime.consumer import PostgresOffsets, follow
from services.runtime.postgres import DATABASE_ERRORS
from services.runtime.rates import Rates
from services.runtime.relay import Relay
from services.runtime.settings import Settings

NAME: Final = "dongui-retention"
REQUIRED: Final = (
    "kafka",
    "retention_dsn",
    "retention_index_key_file",
    "retention_token",
    "consent_url",
)
POOL_SIZE: Final = 6
INDEX_KEY_BYTES_MIN: Final = 32
READY_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True)
class Parts:
    """What the process works with."""

    settings: Settings
    vault: Vault
    intake: Intake
    relay: Relay


@contextlib.asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Parts]:
    """Open what the process needs and close it after. Raises MissingSettingsError, KekError."""
    settings.require(*REQUIRED, *required(settings, "records"))
    async with open_kek(settings, "records") as kek, _opened(settings, kek) as parts:
        yield parts


@contextlib.asynccontextmanager
async def _opened(settings: Settings, kek: KekProvider) -> AsyncIterator[Parts]:
    assert settings.consent_url
    index_key, dsn = _index_key(settings), settings.secret("retention_dsn")
    relay = Relay(dsn, partial(kafka.producer, settings), prefix=settings.topic_prefix, application="retention-relay")
    pool = await postgres.wait_for_pool(dsn, size=POOL_SIZE, application=NAME, planner=postgres.BY_INDEX)
    try:
        async with aiohttp.ClientSession() as session:
            keys = RecordKeys(session, settings.consent_url, settings.secret("retention_token"))
            intake = Intake(keys, kek, index_key, utc_now)
            yield Parts(settings, Vault(pool, kek, index_key, utc_now), intake, relay)
    finally:
        pool.terminate()  # what is in a transaction now comes again at the next start


def _index_key(settings: Settings) -> bytes:
    """Read the key of the e-mail index; a short one would let anyone with the table try addresses."""
    assert settings.retention_index_key_file
    key = settings.retention_index_key_file.read_bytes()
    if len(key) < INDEX_KEY_BYTES_MIN:
        raise ValueError(f"the index key needs at least {INDEX_KEY_BYTES_MIN} bytes")
    return key


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises what `build` raises."""
    async with build(settings) as parts:
        await serving.serve(server_config(parts), partial(works, parts))


def works(parts: Parts, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
    """Return what runs beside the API until `stop`."""
    pool = parts.vault.pool
    return [
        parts.relay.run(stop),
        backlog.watch(pool, "retention-relay", stop),
        sweep.run(parts.vault, stop, parts.relay.nudge),
        follow(
            parts.settings,
            topics=[RETENTION],
            pool=pool,
            offsets=PostgresOffsets(),
            handle=parts.intake.take,
            stop=stop,
            application="retention",
        ),
        follow(
            parts.settings,
            topics=[RECEIPTS],
            pool=pool,
            offsets=PostgresOffsets(),
            handle=holds.obey,
            stop=stop,
            application="retention-holds",
        ),
    ]


def server_config(parts: Parts) -> uvicorn.Config:
    """Return the HTTP server's configuration; no access log (URLs name members)."""
    settings, consent_url = parts.settings, parts.settings.consent_url or ""
    ready = partial(_ready, parts.vault.pool)
    who, rates = Authenticator.from_settings(settings), Rates.from_settings(settings)
    app = api.create(parts.vault, who, rates, ready, parts.relay.nudge, consent_url)
    return serving.config(
        app, settings.retention_host, settings.retention_port, concurrency=128, proxies=settings.trusted_proxies
    )


async def _ready(pool: asyncpg.Pool) -> dict[str, bool]:
    try:
        await asyncio.wait_for(pool.fetchval("SELECT 1 FROM destroyed_record LIMIT 1"), READY_TIMEOUT_S)
    except DATABASE_ERRORS:
        return {"postgres": False}
    return {"postgres": True}

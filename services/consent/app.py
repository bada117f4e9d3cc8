"""Composition root of the consent process: API, relay and receipts consumer on one event loop."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import structlog
import uvicorn
from argon2 import PasswordHasher

from schemas.topics import RECEIPTS
from services.consent import api, receipts
from services.consent.handlers import Consent
from services.consent.store import SQL
from services.keyring.kek import FileKek
from services.keyring.keyring import Keyring
from services.policy.model import load
from services.runtime import kafka, postgres
from services.runtime.auth import Authenticator
from services.runtime.clock import utc_now
from services.runtime.consumer import follow
from services.runtime.relay import Relay
from services.runtime.settings import Settings

REQUIRED = ("kafka", "consent_dsn", "keyring_dsn", "kek_file", "email_index_key_file")
PURGE_S = 3600.0
POOL_SIZE = 16
log = structlog.get_logger("consent")


def password_hasher() -> PasswordHasher:
    """argon2id with 19 MiB and two passes (OWASP's minimum): what two cores can carry at sign-up rates."""
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@contextlib.asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[tuple[Consent, Relay]]:
    """Open what the handlers need and close it after. Raises MissingSettingsError."""
    settings.require(*REQUIRED)
    pool = await postgres.open_pool(settings.secret("consent_dsn"), size=POOL_SIZE, application="dongui-consent")
    key_pool = await postgres.open_pool(settings.secret("keyring_dsn"), size=4, application="dongui-keyring")
    relay = Relay(
        settings.secret("consent_dsn"),
        partial(kafka.producer, settings),
        prefix=settings.topic_prefix,
        on_published=_relayed,
        application="consent-relay",
    )
    assert settings.kek_file and settings.email_index_key_file
    consent = Consent(
        pool=pool,
        keyring=Keyring(key_pool, FileKek(settings.kek_file)),
        rules=load(),
        clock=utc_now,
        hasher=password_hasher(),
        index_key=settings.email_index_key_file.read_bytes(),
        nudge=relay.nudge,
    )
    try:
        yield consent, relay
    finally:
        await asyncio.gather(pool.close(), key_pool.close())


async def _relayed(tx: asyncpg.Connection, event_ids: list[str]) -> None:
    await tx.execute(SQL["mark_relayed"], event_ids)


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    async with build(settings) as (consent, relay):
        stop = asyncio.Event()
        server = uvicorn.Server(_server_config(settings, consent))
        tasks = [
            asyncio.create_task(relay.run(stop)),
            asyncio.create_task(_follow_receipts(settings, consent, stop)),
            asyncio.create_task(_purge(consent.pool, stop)),
        ]
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        serving = asyncio.create_task(server.serve())
        await asyncio.wait([serving, asyncio.create_task(stop.wait()), *tasks], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        server.should_exit = True
        await asyncio.gather(serving, *tasks)


def _server_config(settings: Settings, consent: Consent) -> uvicorn.Config:
    app = api.create(consent, Authenticator.from_settings(settings), partial(_ready, consent.pool))
    return uvicorn.Config(
        app,
        host=settings.consent_host,
        port=settings.consent_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        limit_concurrency=512,
    )


async def _follow_receipts(settings: Settings, consent: Consent, stop: asyncio.Event) -> None:
    offsets = PostgresOffsets()
    await follow(
        settings,
        topics=[RECEIPTS],
        pool=consent.pool,
        offsets=offsets,
        handle=receipts.record,
        stop=stop,
    )


async def _ready(pool: asyncpg.Pool) -> dict[str, bool]:
    try:
        await asyncio.wait_for(pool.fetchval("SELECT 1 FROM member LIMIT 1"), 2)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return {"postgres": False}
    return {"postgres": True}


async def _purge(pool: asyncpg.Pool, stop: asyncio.Event) -> None:
    """Forget idempotency keys after 24 hours."""
    while not stop.is_set():
        with contextlib.suppress(asyncpg.PostgresError, OSError):
            await pool.execute(SQL["idempotent_purge"])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PURGE_S)

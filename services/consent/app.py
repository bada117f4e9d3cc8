"""Composition root of the consent process: API, relay and receipts consumer on one event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import structlog
import uvicorn

from schemas.topics import RECEIPTS, SUPPRESSIONS
from services.consent import api, gauges, receipts, upkeep
from services.consent.erasure import holds, saga, suppressions
from services.consent.erasure.issue import KEYS_FILE, Issuer
from services.consent.guardians import handlers as guardians
from services.consent.handlers import Consent
from services.consent.letters import seen as letters
from services.consent.messages import loop as messages
from services.consent.rights import retained
from services.consent.store import SQL
from services.keyring.kek import KekProvider
from services.keyring.keyring import Keyring
from services.keyring.provider import open_kek, required
from services.policy.model import load
from services.runtime import backlog, kafka, postgres, serving
from services.runtime.auth import Authenticator
from services.runtime.clock import utc_now
from services.runtime.consumer import Batch, PostgresOffsets, follow
from services.runtime.passwords import password_hasher
from services.runtime.postgres import DATABASE_ERRORS, Connection
from services.runtime.rates import Rates
from services.runtime.relay import Relay
from services.runtime.settings import Settings

REQUIRED = ("kafka", "consent_dsn", "keyring_dsn", "email_index_key_file")
PURGE_S = 3600.0
POOL_SIZE = 16
INDEX_KEY_BYTES_MIN = 32
READY_TIMEOUT_S = 2.0
RELAY_PACE_S, RELAY_POLL_S = 0.01, 0.05
"""Every store waits for what this relay publishes."""
log = structlog.get_logger("consent")


@contextlib.asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[tuple[Consent, Relay]]:
    """Open what the handlers need and close it after. Raises MissingSettingsError, KekError."""
    settings.require(*REQUIRED, *required(settings))
    async with open_kek(settings) as kek, _opened(settings, kek) as parts:
        yield parts


@contextlib.asynccontextmanager
async def _opened(settings: Settings, kek: KekProvider) -> AsyncIterator[tuple[Consent, Relay]]:
    pool = await postgres.wait_for_pool(
        settings.secret("consent_dsn"), size=POOL_SIZE, application="dongui-consent", planner=postgres.BY_INDEX
    )
    key_pool = await postgres.wait_for_pool(settings.secret("keyring_dsn"), size=4, application="dongui-keyring")
    relay = relay_of(settings)
    try:
        yield _consent(settings, pool, Keyring(key_pool, kek), relay), relay
    finally:
        await asyncio.gather(pool.close(), key_pool.close())


def relay_of(settings: Settings, application: str = "consent-relay") -> Relay:
    """Return the relay of the consent database."""
    return Relay(
        settings.secret("consent_dsn"),
        partial(kafka.producer, settings),
        prefix=settings.topic_prefix,
        mark=SQL["mark_relayed"],
        pace_s=RELAY_PACE_S,
        poll_s=RELAY_POLL_S,
        shards_max=settings.relay_shards,
        application=application,
    )


def _consent(settings: Settings, pool: asyncpg.Pool, keyring: Keyring, relay: Relay) -> Consent:
    assert settings.email_index_key_file is not None
    return Consent(
        pool=pool,
        keyring=keyring,
        rules=load(settings.affiliates_dir),
        clock=utc_now,
        hasher=password_hasher(),
        index_key=_index_key(settings.email_index_key_file),
        nudge=relay.nudge,
    )


def _index_key(path: Path) -> bytes:
    """Read the key of the e-mail index; a short one would let anyone with the table try addresses."""
    key = path.read_bytes()
    if len(key) < INDEX_KEY_BYTES_MIN:
        raise ValueError(f"the e-mail index key needs at least {INDEX_KEY_BYTES_MIN} bytes")
    return key


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    async with build(settings) as (consent, relay):
        await serving.serve(server_config(settings, consent), partial(works, settings, consent, relay))


def works(settings: Settings, consent: Consent, relay: Relay, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
    """What runs beside the API until `stop`."""
    return [
        relay.run(stop),
        follow_receipts(settings, consent, stop),
        follow_suppressions(settings, consent, stop),
        saga.run(consent, settings.erasure_interval_s, stop),
        _purge(consent, stop),
        messages.run(settings, consent, stop),
        upkeep.run(consent, stop),
        letters.run(settings, consent, stop),
        gauges.watch(settings, consent, stop),
        backlog.watch(consent.pool, "consent-relay", stop),
    ]


def server_config(settings: Settings, consent: Consent) -> uvicorn.Config:
    """Return the HTTP server's configuration: the API, its readiness, no access log (URLs name members)."""
    ready = partial(_ready, consent.pool, consent.keyring)
    issuer = Issuer.from_settings(settings)
    issuer.publish(settings.data_dir / KEYS_FILE)
    app = api.create(consent, Authenticator.from_settings(settings), Rates.from_settings(settings), ready, issuer)
    if settings.retention_url and settings.rights_reader_token:
        app.state.read_retained = retained.reader(settings.retention_url, settings.secret("rights_reader_token"))
    return serving.config(
        app, settings.consent_host, settings.consent_port, concurrency=512, proxies=settings.trusted_proxies
    )


async def follow_receipts(settings: Settings, consent: Consent, stop: asyncio.Event) -> None:
    """Take the answers of the receipts topic into `delivery`, the ledger and `change` until `stop`."""
    await follow(
        settings,
        topics=[RECEIPTS],
        pool=consent.pool,
        offsets=PostgresOffsets(),
        handle=partial(_take_receipts, consent),
        stop=stop,
        application="consent-receipts",
    )


async def _take_receipts(consent: Consent, tx: Connection, batch: Batch) -> None:
    await receipts.record(tx, batch)
    await holds.obey(consent, tx, batch)


async def follow_suppressions(settings: Settings, consent: Consent, stop: asyncio.Event) -> None:
    """Obey the suppressions topic until `stop`: what was erased stays erased when this database is restored."""
    await follow(
        settings,
        topics=[SUPPRESSIONS],
        pool=consent.pool,
        offsets=PostgresOffsets(),
        handle=partial(suppressions.obey, consent),
        stop=stop,
        application="consent-suppressions",
    )


async def _ready(pool: asyncpg.Pool, keyring: Keyring) -> dict[str, bool]:
    """What a request needs. Not the broker: a change is accepted without it and relayed when it is back."""
    asked = {"postgres": pool.fetchval("SELECT 1 FROM member LIMIT 1"), "keyring": keyring.data_keys([])}
    answers = await asyncio.gather(*map(_answers, asked.values()))
    return dict(zip(asked, answers, strict=True))


async def _answers(question: Awaitable[object]) -> bool:
    try:
        await asyncio.wait_for(question, READY_TIMEOUT_S)
    except DATABASE_ERRORS:
        return False
    return True


async def _purge(consent: Consent, stop: asyncio.Event) -> None:
    """Forget idempotency keys after 24 hours, and guardians whom nobody confirmed after five days."""
    while not stop.is_set():
        with contextlib.suppress(*DATABASE_ERRORS):
            await consent.pool.execute(SQL["idempotent_purge"])
            while await guardians.purge_unconfirmed(consent, consent.clock()):
                pass  # a page at a time
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PURGE_S)

"""Composition root of the notices process: Faust takes in, the sender sends, the relay carries the receipts back."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import aiohttp
import asyncpg
import faust
import structlog
from aiokafka import AIOKafkaConsumer

from schemas.topics import NOTICES, RECEIPTS
from services.propagator import agents, watchdog
from services.propagator.keys import ContentKeys
from services.propagator.notices import answers, by_hand, desk, keyfiles, onboarding, plan, post, roster, signing
from services.propagator.notices.attempt import Attempts
from services.propagator.notices.by_hand import Channel
from services.propagator.notices.endpoints import Endpoint
from services.propagator.notices.ingest import Ingest
from services.propagator.notices.registry import Registry
from services.propagator.notices.sealing import Sealer
from services.propagator.notices.sender import Sender
from services.propagator.transport import leave
from services.propagator.watchdog import Watchdog
from services.runtime import backlog, kafka, postgres, pulse
from services.runtime.clock import utc_now
from services.runtime.consumer import PostgresOffsets, follow
from services.runtime.health import HealthServer
from services.runtime.postgres import DATABASE_ERRORS
from services.runtime.relay import Relay
from services.runtime.settings import Settings

NAME: Final = "dongui-notices"
REQUIRED: Final = ("kafka", "notices_dsn", "notices_token", "consent_url", "webhook_signing_key_file")
POOL_SIZE: Final = 12
FAUST_STOP_S: Final = 4.0
STOP_S: Final = 8.0
"""Below the ten seconds an orchestrator gives. What is not done by then is done again at the next start."""
READY_TIMEOUT_S: Final = 2.0
log = structlog.get_logger("notices")


@dataclass
class Parts:
    """What the process works with; the probes look at it from the first moment."""

    settings: Settings
    pool: asyncpg.Pool
    relay: Relay
    sender: Sender
    ingest: Ingest
    endpoints: dict[str, Endpoint]
    registry: Registry
    by_hand: dict[str, Channel]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    app: faust.App | None = None
    watchdog: Watchdog | None = None

    def live(self) -> bool:
        """Say whether notices that come are taken in."""
        return self.watchdog is None or self.watchdog.live()

    async def ready(self) -> dict[str, bool]:
        """Say which of the two conditions of work hold."""
        assigned = self.app is not None and bool(self.app.consumer.positions)
        return {"postgres": await _answers(self.pool), "assigned": assigned}


@contextlib.asynccontextmanager
async def build(settings: Settings, *, timeout_s: float | None = None) -> AsyncIterator[Parts]:
    """Open what the process needs, close it after. Raises MissingSettingsError, EndpointError, SigningKeyError.

    `timeout_s` None = the one of `delivery.toml`.
    """
    settings.require(*REQUIRED)
    assert settings.consent_url
    production = settings.profile != "dev"
    numbers, channels = plan.load(), by_hand.channels(settings.third_parties)
    seeds = keyfiles.seeds(settings)
    signer = signing.Signer(*seeds)
    dsn = settings.secret("notices_dsn")
    relay = Relay(dsn, partial(kafka.producer, settings), prefix=settings.topic_prefix, application="notices-relay")
    pool = await postgres.wait_for_pool(dsn, size=POOL_SIZE, application=NAME, planner=postgres.BY_INDEX)
    registry = Registry(pool, Sealer(*seeds), utc_now, production)
    try:
        await registry.declare(settings.third_parties)
        if len(seeds) > 1:
            await registry.reseal()
        known = await registry.active()
        async with (
            post.session(production=production, timeout_s=timeout_s or numbers.timeout_s) as outside,
            aiohttp.ClientSession() as inside,
        ):
            attempts = Attempts(
                pool=pool,
                keys=ContentKeys(inside, settings.consent_url, settings.secret("notices_token")),
                client=outside,
                signer=signer,
                plan=numbers,
                clock=utc_now,
                nudge=relay.nudge,
            )
            sender = Sender(attempts=attempts, endpoints=known)
            yield Parts(settings, pool, relay, sender, Ingest(pool, utc_now), known, registry, channels)
    finally:
        pool.terminate()  # what is in a transaction now was not recorded: it is done again at the next start


async def run(settings: Settings) -> None:
    """Take in, send and ask again until SIGTERM or SIGINT. Raises what `build` raises."""
    async with build(settings) as parts:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, parts.stop.set)
        health = HealthServer(settings.health_host, settings.health_port, live=parts.live, ready=parts.ready)
        await health.start()
        log.info("health_served", port=health.port)
        asking = asyncio.create_task(prove_settings(parts))
        try:
            await work(parts)
        finally:
            await health.stop()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def prove_settings(parts: Parts) -> None:
    """Ask the endpoints of the settings whether they are their third parties' until each has said so."""
    names = [name for name, found in parts.settings.third_parties.items() if found.get("url")]
    attempts = parts.sender.attempts
    await onboarding.prove_declared(parts.registry, names, attempts.client, attempts.signer, parts.stop)


async def work(parts: Parts) -> None:
    """Run every part until `parts.stop`; the end of one ends all."""
    tasks = [
        asyncio.create_task(parts.relay.run(parts.stop)),
        asyncio.create_task(_follow_receipts(parts)),
        asyncio.create_task(_ingest(parts)),
        asyncio.create_task(roster.run(parts.sender, parts.registry, parts.endpoints, parts.stop)),
        asyncio.create_task(by_hand.run(parts.sender.attempts, parts.by_hand, parts.stop)),
        asyncio.create_task(desk.watch(parts.pool, parts.endpoints, utc_now, parts.stop)),
        asyncio.create_task(pulse.guard(parts.stop)),
        asyncio.create_task(backlog.watch(parts.pool, "notices-relay", parts.stop)),
    ]
    await agents.ended(tasks, parts.stop, STOP_S)


async def _follow_receipts(parts: Parts) -> None:
    await follow(
        parts.settings,
        topics=[RECEIPTS],
        pool=parts.pool,
        offsets=PostgresOffsets(),
        handle=answers.record,
        stop=parts.stop,
        application="notices-receipts",
    )


async def _ingest(parts: Parts) -> None:
    """Start Faust, watch it, stop it."""
    app = agents.create(parts.settings, app_id=NAME, topic=NOTICES, apply=parts.ingest.apply)
    probe = await kafka.wait_for_consumer(parts.settings, parts.stop)
    if probe is None:
        return
    try:
        await app.start()
        parts.app = app
        lag, acked_at = partial(watchdog.lag, app, probe), partial(watchdog.acked_at, app)
        parts.watchdog = Watchdog(NAME, lag=lag, acked_at=acked_at)
        await parts.watchdog.run(app, parts.stop)
    finally:
        await _closed(app, probe)


async def _closed(app: faust.App, probe: AIOKafkaConsumer) -> None:
    await kafka.end(probe)
    try:
        await asyncio.wait_for(app.stop(), FAUST_STOP_S)
    except TimeoutError:
        leave(agents.EXIT_GIVEN_UP, "faust_did_not_stop")


async def _answers(pool: asyncpg.Pool) -> bool:
    try:
        await asyncio.wait_for(pool.fetchval("SELECT 1 FROM notice LIMIT 1"), READY_TIMEOUT_S)
    except DATABASE_ERRORS:
        return False
    return True

"""Composition root of one affiliate's propagator: Faust app, outbox relay, suppressions, watchdog, health."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial

import aiohttp
import asyncpg
import faust
import structlog
from aiokafka import AIOKafkaConsumer

from schemas.topics import SUPPRESSIONS, affiliate_topic
from services.propagator import agents, canary, gauges, suppressions, watchdog
from services.propagator.handlers import Propagator
from services.propagator.keys import ContentKeys, KeyServiceError
from services.propagator.reconcile import loop as reconcile
from services.propagator.transport import leave
from services.propagator.watchdog import Watchdog
from services.runtime import backlog, kafka, postgres, pulse
from services.runtime.clock import utc_now
from services.runtime.consumer import PostgresOffsets, follow
from services.runtime.health import HealthServer
from services.runtime.postgres import DATABASE_ERRORS
from services.runtime.relay import Relay
from services.runtime.settings import MissingSettingsError, Settings

POOL_SIZE = 4
FAUST_STOP_S = 4.0
TASKS_STOP_S = 3.0
READY_TIMEOUT_S = 2.0
RECONNECT_S_MAX = 5.0
UNPARK_S = 1.0
log = structlog.get_logger("propagator")


class UnknownAffiliateError(Exception):
    """No store or no token is set for this affiliate. Set DONGUI_AFFILIATE_DSNS and DONGUI_AFFILIATE_TOKENS."""


@dataclass
class Parts:
    """What the process has so far; the probes look at it from the first moment."""

    settings: Settings
    affiliate: str
    dsn: str
    token: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    pool: asyncpg.Pool | None = None
    app: faust.App | None = None
    watchdog: Watchdog | None = None

    @property
    def name(self) -> str:
        """The application's name in metrics and in the databases' session lists."""
        return f"dongui-propagator-{self.affiliate}"

    def live(self) -> bool:
        """Say whether the process makes progress."""
        return self.watchdog is None or self.watchdog.live()

    async def ready(self) -> dict[str, bool]:
        """Say which of the three conditions of work hold."""
        assigned = self.app is not None and bool(self.app.consumer.positions)
        return {"postgres": await _answers(self.pool), "suppressions": self.caught_up.is_set(), "assigned": assigned}


async def run(settings: Settings, affiliate: str) -> None:
    """Propagate to one affiliate until SIGTERM or SIGINT. Raises MissingSettingsError, UnknownAffiliateError."""
    parts = prepare(settings, affiliate)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, parts.stop.set)
    health = HealthServer(settings.health_host, settings.health_port, live=parts.live, ready=parts.ready)
    await health.start()
    log.info("health_served", port=health.port, affiliate=affiliate)
    try:
        async with _pool(parts) as pool, aiohttp.ClientSession() as session:
            await _work(parts, pool, session)
    finally:
        await health.stop()


def prepare(settings: Settings, affiliate: str) -> Parts:
    """Check the settings; raise MissingSettingsError or UnknownAffiliateError."""
    settings.require("kafka", "consent_url")
    dsn, token = settings.affiliate_dsns.get(affiliate), settings.affiliate_tokens.get(affiliate)
    if not settings.affiliate_dsns or not settings.affiliate_tokens:
        raise MissingSettingsError(["affiliate_dsns", "affiliate_tokens"])
    if dsn is None or token is None:
        raise UnknownAffiliateError(affiliate)
    return Parts(settings, affiliate, dsn.get_secret_value(), token.get_secret_value())


async def _work(parts: Parts, pool: asyncpg.Pool | None, session: aiohttp.ClientSession) -> None:
    if pool is None:
        return
    parts.pool = pool
    relay = Relay(
        parts.dsn,
        partial(kafka.producer, parts.settings),
        prefix=parts.settings.topic_prefix,
        application=f"{parts.affiliate}-relay",
    )
    tasks = [
        asyncio.create_task(relay.run(parts.stop)),
        asyncio.create_task(_follow_suppressions(parts, pool)),
        asyncio.create_task(_propagate(parts, pool, session, relay)),
        asyncio.create_task(pulse.guard(parts.stop)),
        asyncio.create_task(backlog.watch(pool, f"{parts.affiliate}-relay", parts.stop)),
    ]
    await agents.ended(tasks, parts.stop, FAUST_STOP_S + TASKS_STOP_S)


async def _propagate(parts: Parts, pool: asyncpg.Pool, session: aiohttp.ClientSession, relay: Relay) -> None:
    """Start Faust once the suppressions are known; watch it; stop it."""
    if not await _first(parts.caught_up, parts.stop):
        return
    assert parts.settings.consent_url
    keys = ContentKeys(session, parts.settings.consent_url, parts.token)
    propagator = Propagator(parts.affiliate, pool, keys, utc_now, relay.nudge)
    app = agents.create(
        parts.settings,
        app_id=parts.name,
        topic=affiliate_topic(parts.affiliate),
        apply=propagator.apply,
    )
    beside = [
        asyncio.create_task(reconcile.run(parts.settings, propagator, parts.token, parts.stop)),
        asyncio.create_task(_unpark(propagator, parts.stop)),
        asyncio.create_task(gauges.watch(propagator, parts.stop)),
        asyncio.create_task(canary.run(parts.settings, parts.affiliate, parts.token, parts.stop)),
    ]
    async with _probe(parts) as probe:
        if probe is None:
            return
        await app.start()
        parts.app = app
        parts.watchdog = Watchdog(
            parts.name, lag=partial(watchdog.lag, app, probe), acked_at=partial(watchdog.acked_at, app)
        )
        try:
            await parts.watchdog.run(app, parts.stop)
        finally:
            for task in beside:
                task.cancel()
            await _stopped(app)
    await asyncio.gather(*beside, return_exceptions=True)


async def _unpark(propagator: Propagator, stop: asyncio.Event) -> None:
    """Take out what was parked, once its pause has ended; what is away can wait."""
    while not stop.is_set():
        try:
            while await propagator.unpark():
                pass
        except (*DATABASE_ERRORS, KeyServiceError) as error:
            log.warning("unpark_put_off", error=type(error).__name__)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), UNPARK_S)


async def _stopped(app: faust.App) -> None:
    try:
        await asyncio.wait_for(app.stop(), FAUST_STOP_S)
    except TimeoutError:
        leave(agents.EXIT_GIVEN_UP, "faust_did_not_stop")


async def _follow_suppressions(parts: Parts, pool: asyncpg.Pool) -> None:
    await follow(
        parts.settings,
        topics=[SUPPRESSIONS],
        pool=pool,
        offsets=PostgresOffsets(),
        handle=suppressions.suppress,
        stop=parts.stop,
        application=f"{parts.affiliate}-suppressions",
        caught_up=parts.caught_up,
    )


@contextlib.asynccontextmanager
async def _probe(parts: Parts) -> AsyncIterator[AIOKafkaConsumer | None]:
    """A client that only asks for end offsets; None when stopped before there was a broker."""
    probe = await kafka.wait_for_consumer(parts.settings, parts.stop)
    try:
        yield probe
    finally:
        if probe is not None:
            await kafka.end(probe)


@contextlib.asynccontextmanager
async def _pool(parts: Parts) -> AsyncIterator[asyncpg.Pool | None]:
    """Open the store's pool, waiting for a database that is away; None when stopped before."""
    pool, pause_s = None, 0.1
    while pool is None and not parts.stop.is_set():
        try:
            pool = await postgres.open_pool(parts.dsn, size=POOL_SIZE, application=parts.name, planner=postgres.STEADY)
        except DATABASE_ERRORS as error:
            log.warning("database_away", error=type(error).__name__, affiliate=parts.affiliate)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(parts.stop.wait(), pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            pause_s = min(pause_s * 2, RECONNECT_S_MAX)
    try:
        yield pool
    finally:
        if pool is not None:
            pool.terminate()  # nothing is in a transaction any more that could be finished


async def _first(awaited: asyncio.Event, stop: asyncio.Event) -> bool:
    """Wait for either; say whether it was the awaited one."""
    waits = [asyncio.create_task(awaited.wait()), asyncio.create_task(stop.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
    return not stop.is_set()


async def _answers(pool: asyncpg.Pool | None) -> bool:
    if pool is None:
        return False
    try:
        await asyncio.wait_for(pool.fetchval("SELECT 1 FROM watermark LIMIT 1"), READY_TIMEOUT_S)
    except DATABASE_ERRORS:
        return False
    return True

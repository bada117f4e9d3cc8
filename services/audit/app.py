"""Composition root of the audit process: the query API always, the writer when the lease is free."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

import httpx
import uvicorn

from services.audit import agents, anchors, api
from services.audit.agents import Parts
from services.audit.notary import Notary
from services.audit.patrol import Patrol
from services.runtime import postgres, serving
from services.runtime.auth import Authenticator
from services.runtime.clock import utc_now
from services.runtime.postgres import DATABASE_ERRORS
from services.runtime.rates import Rates
from services.runtime.seeds import seed_of
from services.runtime.settings import Settings

REQUIRED = ("kafka", "audit_dsn", "audit_signing_key_file")
POOL_SIZE = 8
READY_TIMEOUT_S = 2.0


@contextlib.asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Parts]:
    """Open what the process needs and close it after. Raises MissingSettingsError, SeedError, CheckpointError."""
    settings.require(*REQUIRED)
    assert settings.audit_signing_key_file
    seed = seed_of(settings.audit_signing_key_file)
    dsn = settings.secret("audit_dsn")
    async with contextlib.AsyncExitStack() as stack:
        pool = await postgres.wait_for_pool(dsn, size=POOL_SIZE, application="dongui-audit")
        stack.push_async_callback(pool.close)
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        made = Notary(pool, seed, settings.data_dir, utc_now)
        made.publish_key()
        outside = anchors.of_settings(settings, pool, client, utc_now)
        walker = Patrol(pool, made.verifier, settings.data_dir, utc_now)
        yield Parts(settings, pool, made, outside, walker, utc_now)


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    async with build(settings) as parts:
        await serving.serve(server_config(parts), lambda stop: [agents.write(parts, stop)])


def server_config(parts: Parts) -> uvicorn.Config:
    """Return the HTTP server's configuration; no access log (URLs name members)."""
    settings = parts.settings
    app = api.create(
        parts.pool,
        Authenticator.from_settings(settings),
        Rates.from_settings(settings),
        vkey=parts.notary.verifier.vkey(),
        clock=parts.clock,
        ready=partial(ready, parts),
        reason_required=_reason_required(settings),
    )
    return serving.config(
        app, settings.audit_host, settings.audit_port, concurrency=256, proxies=settings.trusted_proxies
    )


def _reason_required(settings: Settings) -> bool:
    """Whether a look at the log without a reason is refused: as set, else everywhere but in the dev profile."""
    if settings.audit_reason_required is None:
        return settings.profile != "dev"
    return settings.audit_reason_required


async def ready(parts: Parts) -> dict[str, bool]:
    """Return which dependency answers, and whether the log agrees with its checkpoints, here and outside,
    and with itself.
    """
    checks = {
        "postgres": True,
        "log": parts.notary.agrees,
        "places": parts.anchors.agrees,
        "verified": parts.patrol.agrees,
    }
    try:
        await asyncio.wait_for(parts.pool.fetchval("SELECT 1 FROM entry LIMIT 1"), READY_TIMEOUT_S)
    except DATABASE_ERRORS:
        checks["postgres"] = False
    return checks

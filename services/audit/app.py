"""Composition root of the audit process: the query API always, the writer when the lease is free."""

import asyncio
import base64
import binascii
import contextlib
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import uvicorn

from services.audit import agents, api
from services.audit.agents import Parts
from services.audit.notary import Notary
from services.runtime import postgres
from services.runtime.auth import Authenticator
from services.runtime.clock import utc_now
from services.runtime.postgres import DATABASE_ERRORS
from services.runtime.settings import Settings

REQUIRED = ("kafka", "audit_dsn", "audit_signing_key_file")
POOL_SIZE = 8
SEED_BYTES = 32
READY_TIMEOUT_S = 2.0


class SigningKeyError(Exception):
    """The signing key file does not hold a 32-byte Ed25519 seed (raw, or base64 on one line)."""


def signing_seed(path: Path) -> bytes:
    """Return the seed in a key file; raise SigningKeyError when it holds none."""
    content = path.read_bytes()
    if len(content) == SEED_BYTES:
        return content
    try:
        seed = base64.b64decode(content.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SigningKeyError from error
    if len(seed) != SEED_BYTES:
        raise SigningKeyError
    return seed


@contextlib.asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Parts]:
    """Open what the process needs and close it after. Raises MissingSettingsError, SigningKeyError."""
    settings.require(*REQUIRED)
    assert settings.audit_signing_key_file
    seed = signing_seed(settings.audit_signing_key_file)
    dsn = settings.secret("audit_dsn")
    pool = await postgres.open_pool(dsn, size=POOL_SIZE, application="dongui-audit")
    try:
        made = Notary(pool, seed, settings.data_dir, utc_now)
        made.publish_key()
        yield Parts(settings, pool, made, utc_now)
    finally:
        await pool.close()


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    async with build(settings) as parts:
        stop = asyncio.Event()
        server = uvicorn.Server(_server_config(parts))
        writing = asyncio.create_task(agents.write(parts, stop))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        serving = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([serving, stopping, writing], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        server.should_exit = True
        await asyncio.gather(serving, writing, stopping)


def _server_config(parts: Parts) -> uvicorn.Config:
    settings = parts.settings
    app = api.create(
        parts.pool,
        Authenticator.from_settings(settings),
        vkey=parts.notary.verifier.vkey(),
        clock=parts.clock,
        ready=partial(ready, parts),
    )
    return uvicorn.Config(
        app,
        host=settings.audit_host,
        port=settings.audit_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        limit_concurrency=256,
    )


async def ready(parts: Parts) -> dict[str, bool]:
    """Return which dependency answers, and whether the log still agrees with its checkpoints."""
    checks = {"postgres": True, "log": parts.notary.agrees}
    try:
        await asyncio.wait_for(parts.pool.fetchval("SELECT 1 FROM entry LIMIT 1"), READY_TIMEOUT_S)
    except DATABASE_ERRORS:
        checks["postgres"] = False
    return checks

"""What `dongui third-party` works with: the rows, our signature, and the client that leaves for third parties."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
import asyncpg

from services.commands.context import USAGE, fail, load_settings
from services.devstack.keyfiles import KeyFiles
from services.propagator.notices import keyfiles, post
from services.propagator.notices.endpoints import EndpointError
from services.propagator.notices.registry import Registry
from services.propagator.notices.sealing import Sealer
from services.propagator.notices.signing import Signer, SigningKeyError
from services.runtime import postgres
from services.runtime.clock import utc_now
from services.runtime.settings import Settings

POOL_SIZE = 2
T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """Open while a command runs."""

    registry: Registry
    signer: Signer
    client: aiohttp.ClientSession


def working(work: Callable[[Access], Awaitable[T]]) -> T:
    """Run with all of it; what is in the way ends the command: 2 when it is the name or the URL, else 1."""
    settings = _settings()
    try:
        return asyncio.run(_opened(settings, work))
    except EndpointError as error:
        fail(str(error), USAGE)
    except SigningKeyError:
        fail("DONGUI_WEBHOOK_SIGNING_KEY_FILE (or …_OLD_FILE) does not hold 32 bytes, raw or base64")
    except (OSError, asyncpg.PostgresError) as error:
        fail(f"the notices database or a key file cannot be reached ({type(error).__name__})")


async def _opened(settings: Settings, work: Callable[[Access], Awaitable[T]]) -> T:
    seeds = keyfiles.seeds(settings)
    production = settings.profile != "dev"
    pool = await postgres.open_pool(settings.secret("notices_dsn"), size=POOL_SIZE, application="dongui-third-party")
    try:
        async with post.session(production=production) as client:
            registry = Registry(pool, Sealer(*seeds), utc_now, production)
            return await work(Access(registry, Signer(*seeds), client))
    finally:
        await pool.close()


def _settings() -> Settings:
    """Return the settings; without a signing key in them, that of an embedded system here."""
    settings = load_settings().require("notices_dsn")
    embedded = KeyFiles.below(settings.data_dir / "secrets").webhook_signing_key
    if settings.webhook_signing_key_file or not embedded.is_file():
        return settings
    return settings.model_copy(update={"webhook_signing_key_file": embedded})

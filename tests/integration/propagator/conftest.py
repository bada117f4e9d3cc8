"""Fixtures of the propagator tests: settings, key service, store, topic, process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from pydantic import SecretStr

from services.propagator.handlers import Propagator
from services.propagator.keys import ContentKeys
from services.runtime import kafka, postgres
from services.runtime.clock import utc_now
from services.runtime.settings import Settings
from tests.integration.propagator.harness import AFFILIATE, TOKEN, KeyService, Process, Store, Topic, key_service


@pytest.fixture
async def keys() -> AsyncIterator[KeyService]:
    async with key_service() as service:
        yield service


@pytest.fixture
async def store(databases: Any) -> AsyncIterator[Store]:
    pool = await postgres.open_pool(databases.owner_dsn(AFFILIATE), size=4)
    yield Store(pool)
    pool.terminate()


@pytest.fixture
async def propagator(databases: Any, keys: KeyService) -> AsyncIterator[Propagator]:
    """The handler of one batch on a real store, without Kafka around it."""
    pool = await postgres.open_pool(databases.dsn(AFFILIATE), size=4)
    async with aiohttp.ClientSession() as session:
        yield Propagator(AFFILIATE, pool, ContentKeys(session, keys.url, TOKEN), utc_now)
    pool.terminate()


@pytest.fixture
def settings(stack: Any, databases: Any, topic_prefix: str, keys: KeyService, tmp_path: Path) -> Settings:
    return Settings(
        profile="dev",
        kafka=stack.bootstrap,
        topic_prefix=topic_prefix,
        affiliate_dsns={AFFILIATE: SecretStr(databases.dsn(AFFILIATE))},
        affiliate_tokens={AFFILIATE: SecretStr(TOKEN)},
        consent_url=keys.url,
        data_dir=tmp_path / "data",
        affiliate_batch_max=50,
    )


@pytest.fixture
async def topic(settings: Settings) -> AsyncIterator[Topic]:
    producer = await kafka.producer(settings)
    yield Topic(settings, producer)
    await producer.stop()


@pytest.fixture
async def process(settings: Settings, tmp_path: Path) -> AsyncIterator[Process]:
    """A propagator process, not started."""
    clear = {
        n: {k: v.get_secret_value() for k, v in getattr(settings, n).items()}
        for n in ("affiliate_dsns", "affiliate_tokens")
    }
    env = {
        "DONGUI_PROFILE": "dev",
        "DONGUI_KAFKA": str(settings.kafka),
        "DONGUI_TOPIC_PREFIX": settings.topic_prefix,
        "DONGUI_AFFILIATE_DSNS": orjson.dumps(clear["affiliate_dsns"]).decode(),
        "DONGUI_AFFILIATE_TOKENS": orjson.dumps(clear["affiliate_tokens"]).decode(),
        "DONGUI_CONSENT_URL": str(settings.consent_url),
        "DONGUI_DATA_DIR": str(settings.data_dir),
        "DONGUI_AFFILIATE_BATCH_MAX": str(settings.affiliate_batch_max),
    }
    made = Process(env, tmp_path / "propagator.log")
    yield made
    await made.stop()
    await asyncio.sleep(0)

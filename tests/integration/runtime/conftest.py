"""What the relay's and the follower's tests share: a consent database with an outbox."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest_asyncio
from pydantic import SecretStr

from services.runtime import postgres
from services.runtime.settings import Settings


@pytest_asyncio.fixture
async def settings(stack: Any, databases: Any, topic_prefix: str) -> Settings:
    """Settings on this test's database and topics."""
    dsn = SecretStr(databases.dsn("consent"))
    return Settings(profile="dev", kafka=stack.bootstrap, topic_prefix=topic_prefix, consent_dsn=dsn)


@pytest_asyncio.fixture
async def pool(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    made = await postgres.open_pool(settings.secret("consent_dsn"), size=8)
    yield made
    made.terminate()

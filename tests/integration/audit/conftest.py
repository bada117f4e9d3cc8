"""What the audit tests share: settings on a database of their own and topics of their own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import SecretStr

from schemas.topics import FACTS, RECEIPTS
from services.audit import agents, app
from services.audit.agents import Parts
from services.runtime import kafka, postgres
from services.runtime.settings import Settings
from tests.integration.audit.logs import Log

SEED = bytes(range(32))


@pytest.fixture
async def settings(stack: Any, databases: Any, topic_prefix: str, tmp_path: Path) -> Settings:
    """Settings of one audit process whose topics exist."""
    key = tmp_path / "audit.key"
    key.write_bytes(SEED)
    made = Settings(
        profile="dev",
        kafka=stack.bootstrap,
        topic_prefix=topic_prefix,
        audit_dsn=SecretStr(databases.dsn("audit")),
        audit_signing_key_file=key,
        data_dir=tmp_path / "data",
        checkpoint_interval_s=0.1,
    )
    await make_topics(made, FACTS, RECEIPTS)
    return made


async def make_topics(settings: Settings, *topics: str) -> None:
    admin = AIOKafkaAdminClient(**kafka.client_options(settings))
    await admin.start()
    try:
        present = set(await admin.list_topics())
        names = [settings.topic_prefix + topic for topic in topics]
        await admin.create_topics([NewTopic(n, 4, 1) for n in names if n not in present])
    finally:
        await admin.close()


@pytest.fixture
async def log(databases: Any, tmp_path: Path) -> AsyncIterator[Log]:
    """A log of its own, which a test fills by hand."""
    pool = await postgres.open_pool(databases.dsn("audit"), size=4)
    yield Log.of(pool, tmp_path / "data")
    await pool.close()


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    made = await kafka.producer(settings)
    yield made
    await made.stop()


@pytest.fixture
async def owner(databases: Any) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the database's OWNER: the attacker."""
    connection = await asyncpg.connect(databases.owner_dsn("audit"))
    yield connection
    await connection.close()


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    async with app.build(settings) as made:
        yield made


@contextlib.asynccontextmanager
async def writing(parts: Parts) -> AsyncIterator[None]:
    """Run the writer while the block runs."""
    stop = asyncio.Event()
    task = asyncio.create_task(agents.write(parts, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


async def until(pool: asyncpg.Pool, statement: str, expected: Any, timeout_s: float = 20) -> None:
    """Wait until a statement's value is `expected`; fail with what it was."""
    found = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while (found := await pool.fetchval(statement)) != expected:
                await asyncio.sleep(0.05)
    assert found == expected

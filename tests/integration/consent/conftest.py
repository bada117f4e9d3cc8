"""Fixtures of the consent service's tests: two processes for the whole run, emptied before each test.

Topics are not emptied: `Service.begin` notes where they end, and a test reads from there.
"""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from schemas.topics import all_topics
from services.devstack import topics
from services.devstack.provision import AFFILIATES
from services.propagator.handlers import Propagator
from services.propagator.keys import ContentKeys
from services.propagator.reconcile.ledger import Ledger
from services.runtime import postgres
from services.runtime.clock import utc_now
from services.runtime.settings import Settings
from tests.integration.consent.harness import Service, a_token, running, settings_in
from tests.integration.consent.sides import Side
from tests.support.databases import Databases

EMPTY = "TRUNCATE member, canary, idempotency, outbox CASCADE"


@pytest_asyncio.fixture(scope="package")
async def process(stack: Any, templates: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    prefix = f"t{secrets.token_hex(4)}-"
    await topics.create(stack.bootstrap, all_topics(AFFILIATES), prefix=prefix)
    async for made in _process(stack, templates, tmp_path_factory, prefix):
        yield made
    await topics.delete(stack.bootstrap, prefix)


@pytest_asyncio.fixture(scope="package")
async def quiet_process(stack: Any, templates: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async for made in _process(stack, templates, tmp_path_factory, ""):
        yield made


async def _process(
    stack: Any, templates: Any, tmp_path_factory: pytest.TempPathFactory, prefix: str
) -> AsyncIterator[Service]:
    databases = Databases(templates, f"t{secrets.token_hex(4)}")
    settings = settings_in(tmp_path_factory.mktemp("consent"), stack, databases, prefix)
    async with running(settings, databases, relay=bool(prefix)) as made:
        yield made
    await databases.drop()


@pytest_asyncio.fixture
async def service(process: Service) -> AsyncIterator[Service]:
    """A consent process with its relay and its receipts follower, and nothing in it."""
    await _empty(process)
    await process.begin()
    yield process
    await process.relayed()


@pytest_asyncio.fixture
async def silent(quiet_process: Service) -> Service:
    """A consent process without relay and follower: all stays as the transaction left it."""
    await _empty(quiet_process)
    return quiet_process


@pytest_asyncio.fixture
async def sides(silent: Service, databases: Databases) -> AsyncIterator[dict[str, Side]]:
    """Each affiliate's store beside `silent`, empty."""
    made, pools = {}, []
    async with aiohttp.ClientSession() as session:
        for affiliate in AFFILIATES:
            token = a_token(affiliate, "affiliate")
            pool = await postgres.open_pool(databases.dsn(affiliate), size=3)
            owner = await postgres.open_pool(databases.owner_dsn(affiliate), size=1)
            pools += [pool, owner]
            propagator = Propagator(affiliate, pool, ContentKeys(session, silent.url, token), utc_now)
            ledger = Ledger(session, silent.url, affiliate, token)
            made[affiliate] = Side(affiliate, silent, propagator, ledger, owner)
        yield made
    for pool in pools:
        pool.terminate()


@pytest.fixture
def settings(process: Service) -> Settings:
    """The settings of `service`, for a second process beside it."""
    return process.settings


async def _empty(service: Service) -> None:
    owner = await asyncpg.connect(service.databases.owner_dsn("consent"))
    try:
        await owner.execute(EMPTY)
    finally:
        await owner.close()

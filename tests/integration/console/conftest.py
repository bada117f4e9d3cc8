"""Fixtures of the console's tests: one database for all of them, emptied before each."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest_asyncio
from playwright.async_api import Browser
from pydantic import SecretStr

from services.devstack.system import System
from tests.integration.console import harness
from tests.integration.console.harness import Console, IdentityProvider
from tests.integration.console.people import People, arrive
from tests.support.browser import chromium
from tests.support.databases import Databases, Templates


@pytest_asyncio.fixture(scope="session")
async def console_databases(templates: Templates) -> AsyncIterator[Databases]:
    """A console database that these tests share."""
    made = Databases(templates, f"t{secrets.token_hex(4)}")
    yield made
    await made.drop()


@pytest_asyncio.fixture
async def emptied(console_databases: Databases) -> Databases:
    """The shared database without a row."""
    owner = await asyncpg.connect(console_databases.owner_dsn("console"))
    try:
        await owner.execute("TRUNCATE account, session, oidc_attempt, sign_in_tries, outbox")
    finally:
        await owner.close()
    return console_databases


@pytest_asyncio.fixture
async def console(emptied: Databases, tmp_path: Path) -> AsyncIterator[Console]:
    """A console with two first accounts, on loopback http."""
    async with harness.running(harness.settings_in(tmp_path, emptied)) as made:
        yield made


@pytest_asyncio.fixture(scope="session")
async def provider_process() -> AsyncIterator[IdentityProvider]:
    """A real provider over HTTP."""
    async with harness.identity_provider() as made:
        yield made


@pytest_asyncio.fixture
async def provider(provider_process: IdentityProvider) -> IdentityProvider:
    """The provider, honest and without anybody."""
    provider_process.forget()
    return provider_process


@pytest_asyncio.fixture
async def federated(emptied: Databases, tmp_path: Path, provider: IdentityProvider) -> AsyncIterator[Console]:
    """A console whose people may come from the provider."""
    told = {
        "oidc_issuer": provider.url,
        "oidc_client_id": harness.CLIENT,
        "oidc_client_secret": SecretStr(harness.SECRET),
        "oidc_roles": {"privacy": "compliance", "dpo": "cpo", "os": "affiliate:tmax-os"},
    }
    async with harness.running(harness.settings_in(tmp_path, emptied, **told)) as made:
        yield made


@pytest_asyncio.fixture(scope="session")
async def people(system: System) -> AsyncIterator[People]:
    """Everybody at the console of the whole system, with something to look at."""
    made = await arrive(system)
    yield made
    await made.close()


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    async with chromium() as running:
        yield running

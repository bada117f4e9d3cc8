"""A consent process and a retention process for the whole package; tests keep to members of their own."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from schemas.topics import all_topics
from services.devstack import topics
from services.devstack.ports import free_ports
from services.devstack.provision import AFFILIATES
from tests.integration.consent.harness import a_token, running, settings_in
from tests.integration.retention.harness import Pair, beside, settings_beside
from tests.support.databases import Databases


@pytest_asyncio.fixture(scope="package")
async def pair(stack: Any, templates: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    prefix = f"t{secrets.token_hex(4)}-"
    await topics.create(stack.bootstrap, all_topics(AFFILIATES), prefix=prefix)
    databases = Databases(templates, f"t{secrets.token_hex(4)}")
    folder = tmp_path_factory.mktemp("retention")
    port = free_ports(1)[0]
    reader = {
        "retention_url": f"http://127.0.0.1:{port}",
        "rights_reader_token": SecretStr(a_token("consent", "rights_reader")),
    }
    settings = settings_in(folder, stack, databases, prefix).model_copy(update=reader)
    await _ten_years_ahead(databases)
    async with running(settings, databases) as service:
        async for made in beside(service, settings_beside(service, port)):
            yield made
    await databases.drop()
    await topics.delete(stack.bootstrap, prefix)


async def _ten_years_ahead(databases: Databases) -> None:
    """Let the retention database believe the days that tests name, which no process may make it do."""
    owner = await asyncpg.connect(databases.owner_dsn("retention"))
    try:
        await owner.execute("INSERT INTO clock_ahead VALUES (3650)")
    finally:
        await owner.close()

"""The APIs under attack: one set for all of these tests, in one worker."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from schemas.topics import all_topics
from services.devstack import topics
from services.devstack.provision import AFFILIATES
from tests.security.apis import Apis, all_running
from tests.support.databases import Databases


@pytest_asyncio.fixture(scope="session")
async def apis(stack: Any, templates: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Apis]:
    """Consent, audit and retention with everything beside them."""
    prefix = f"t{secrets.token_hex(4)}-"
    await topics.create(stack.bootstrap, all_topics(AFFILIATES), prefix=prefix)
    databases = Databases(templates, f"t{secrets.token_hex(4)}")
    async with all_running(tmp_path_factory.mktemp("security"), stack, databases, prefix) as made:
        yield made
    await databases.drop()
    await topics.delete(stack.bootstrap, prefix)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that attacks these APIs runs in one worker: starting them costs more than the tests."""
    for item in items:
        if "apis" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("apis"))

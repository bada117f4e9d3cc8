"""A Kafka that is closed to strangers, for this package only: one more JVM, stopped after its tests."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from schemas.topics import all_topics
from services.devstack import principals, topics
from services.devstack.provision import AFFILIATES
from services.devstack.stack import Stack, prepare
from services.devstack.wire import Wire
from services.runtime import acls
from services.runtime.acls import SETUP, Table
from tests.support.servers import JAR_CACHE, temporary_directory

HEAP_MB = 256


@dataclass(frozen=True)
class Closed:
    """The broker's address, its secret files, and what each principal may do."""

    bootstrap: str
    wire: Wire
    table: Table

    def client(self, principal: str) -> dict[str, Any]:
        """Return the options of an aiokafka client."""
        return {"bootstrap_servers": self.bootstrap, **self.wire.client(principal)}


@pytest_asyncio.fixture(scope="package")
async def closed() -> AsyncIterator[Closed]:
    """Topics, users and ACLs are made as `setup` and the devstack make them."""
    async with temporary_directory() as folder:
        table = acls.table(AFFILIATES)
        stack = Stack(folder, jar_cache=JAR_CACHE, secure=table, heap_mb=HEAP_MB)
        prepare(folder)
        await stack.kafka.start()
        try:
            assert stack.wire
            made = Closed(stack.bootstrap, stack.wire, table)
            await topics.create(stack.bootstrap, all_topics(AFFILIATES), security=stack.login(SETUP))
            await principals.create(made.client(SETUP), stack.wire.passwords, table)
            yield made
        finally:
            await stack.kafka.stop()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker, so that there is one broker."""
    for item in items:
        if "closed" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("wire"))

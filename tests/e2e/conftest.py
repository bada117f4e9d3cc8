"""The whole system for the end-to-end tests, seen from outside."""

from collections.abc import AsyncIterator

import pytest_asyncio

from services.devstack.system import System
from tests.e2e.client import Client
from tests.support.mail import MailServer


@pytest_asyncio.fixture(scope="session")
async def client(system: System, mail: MailServer) -> AsyncIterator[Client]:
    """HTTP as each kind of caller, the stores, the third party, the log."""
    made = Client(system, mail)
    yield made
    await made.close()

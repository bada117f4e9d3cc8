"""The whole system for the fault tests: its processes on the run's real broker and database, and the one oracle."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial

import asyncpg
import pytest

from services.devstack import child
from services.devstack.system import System
from tests.support.driver import Driver
from tests.support.expected import AFFILIATES, Expected
from tests.support.oracle import Oracle, received_from


@pytest.fixture
def expected() -> Expected:
    """What HTTP accepted in this test."""
    return Expected()


@pytest.fixture
def oracle(system: System) -> Oracle:
    """Compares the system with what was accepted."""
    described = system.described()
    return Oracle(described, partial(received_from, f"{described['partner_url']}/received"))


@pytest.fixture
async def driver(system: System, expected: Expected) -> AsyncIterator[Callable[[int], Driver]]:
    """Make drivers by seed; they share the `expected` of the test."""
    described = system.described()
    made: list[Driver] = []

    def make(seed: int) -> Driver:
        made.append(Driver(described["consent_url"], described["tokens"]["service"], seed, expected))
        return made[-1]

    yield make
    await asyncio.gather(*(d.close() for d in made))


@pytest.fixture(autouse=True)
def watched(system: System) -> Iterator[None]:
    """No process ends by itself; when a test fails, the ends of all logs are in its output."""
    yield
    fallen = system.fallen()
    for name in ("consent", "audit", "notices", *(f"propagator-{a}" for a in AFFILIATES)):
        print(
            f"--- {name} {'(ended)' if name in fallen else ''}\n{child.tail(system.base_dir / 'log' / f'{name}.log')}"
        )
    assert fallen == []


@contextlib.asynccontextmanager
async def load(drivers: list[Driver], commands: int, pause_s: float) -> AsyncIterator[None]:
    """Keep commands coming while the block runs, and until all of them are accepted."""
    tasks = [asyncio.create_task(d.live(commands, pause_s=pause_s)) for d in drivers]
    try:
        yield
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def database_down(dsn: str, admin_dsn: str) -> AsyncIterator[None]:
    """Make one database unreachable for the block, as if its server were down."""
    name = dsn.rpartition("/")[2]
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
    finally:
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await connection.close()


def enough(expected: Expected, *, changes: int, notices: int) -> None:
    """The run must have been a real one: this many changes accepted, this many notices owed."""
    assert len(expected.changes) >= changes
    assert len(expected.notices) >= notices


async def eventually(check: Callable[[], Awaitable[bool]], timeout_s: float = 60.0) -> None:
    """Wait until a check is true; fail after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not await check():
            await asyncio.sleep(0.2)

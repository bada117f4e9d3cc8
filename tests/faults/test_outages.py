"""A database or the broker away: the others go on, nothing acknowledged is lost, no hand is needed on return."""

import asyncio
from collections.abc import Callable

import asyncpg
import pytest

from services.devstack.system import System
from tests.faults.conftest import database_down, eventually, load
from tests.support.driver import Driver
from tests.support.expected import Expected
from tests.support.oracle import Oracle

OUTAGE_S = 20
BROKER_OUTAGE_S = 15


@pytest.mark.f(5)
@pytest.mark.long
@pytest.mark.timeout(240)
async def test_one_affiliates_database_down_stops_nobody_else(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle
) -> None:
    described = system.described()
    dsns = described["databases"]["affiliates"]
    one = driver(201)
    await one.live(10)
    assert await oracle.settled(expected) == []
    async with database_down(dsns["tmax-os"], system.installation.access.admin_dsn):
        async with asyncio.timeout(OUTAGE_S + 30), load([one], 30, 0.3):
            await asyncio.sleep(OUTAGE_S)
        for affiliate in ("tmax-cloud", "tmax-anc"):
            await eventually(lambda a=affiliate: _caught_up(a, oracle, expected), 15)
    assert await oracle.settled(expected) == []


async def _caught_up(affiliate: str, oracle: Oracle, expected: Expected) -> bool:
    return not await oracle.store_differences(affiliate, expected)


@pytest.mark.f(10)
@pytest.mark.long
@pytest.mark.timeout(240)
async def test_the_broker_away_for_fifteen_seconds_loses_nothing(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle
) -> None:
    """Changes are accepted all the while: they wait in the outbox."""
    one = driver(202)
    await one.live(5)
    async with load([one], 25, 0.3):
        await system.stack.kafka.stop()
        await asyncio.sleep(BROKER_OUTAGE_S)
        accepted_meanwhile = len(expected.changes)
        await system.stack.kafka.start()
    assert accepted_meanwhile > 15
    assert await oracle.settled(expected) == []


@pytest.mark.f(28)
@pytest.mark.timeout(240)
async def test_the_whole_database_server_killed_loses_nothing(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle
) -> None:
    one = driver(203)
    async with load([one], 20, 0.2):
        await asyncio.sleep(1)
        await system.stack.postgres.stop(9)
        await asyncio.sleep(3)
        await system.stack.postgres.start()
    connection = await asyncpg.connect(system.described()["databases"]["consent"])
    await connection.close()
    assert await oracle.settled(expected) == []

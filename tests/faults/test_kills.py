"""kill -9 anywhere: nothing accepted is lost, nothing old wins, no notice is sent twice."""

import asyncio
import random
from collections.abc import Callable

import httpx
import pytest

from services.devstack.system import System
from tests.faults.conftest import enough, load
from tests.support.driver import Driver
from tests.support.expected import Expected
from tests.support.oracle import Oracle

VICTIMS = ("consent", "propagator-tmax-cloud", "propagator-tmax-os", "propagator-tmax-anc", "audit")


async def kill_and_restart(system: System, name: str) -> None:
    """End a process as the kernel's OOM killer would, and start it again as its supervisor would."""
    system.kill(name)
    await asyncio.sleep(0.2)
    system.start_process(name)


@pytest.mark.f(2, 28)
@pytest.mark.timeout(240)
async def test_kill_9_of_every_process_under_load_loses_nothing(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle
) -> None:
    """The relay lives in the consent process, so killing that is killing a relay between send and mark."""
    chosen = random.Random(9)
    drivers = [driver(seed) for seed in (91, 92)]
    async with load(drivers, 60, 0.15):
        for name in chosen.sample(VICTIMS, len(VICTIMS)):
            await asyncio.sleep(chosen.uniform(0.5, 1.5))
            await kill_and_restart(system, name)
    for name in VICTIMS:
        await system.wait_ready(name)
    assert await oracle.settled(expected) == []
    enough(expected, changes=90, notices=3)


@pytest.mark.f(2)
@pytest.mark.long
@pytest.mark.timeout(480)
async def test_a_propagator_killed_again_and_again_between_commit_and_ack_converges(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle
) -> None:
    """Offsets are committed a second after the database: a kill within it makes the broker send the same again.

    A kill may fall beside that second, so there are some more, until one has not.
    """
    victim, again = "propagator-tmax-os", 0.0
    for seed in range(101, 107):
        async with load([driver(seed), driver(seed + 100)], 50, 0.1):
            await _applying(system, victim)
            await kill_and_restart(system, victim)
        await system.wait_ready(victim)
        assert await oracle.settled(expected) == []
        again += await _records(system, victim, "duplicate")
        if again and seed > 101:
            break
    enough(expected, changes=75, notices=3)
    assert again > 0


async def _applying(system: System, name: str) -> None:
    """Wait until the process takes records: the broker gives a killed one's away only when its session is over."""
    await system.wait_ready(name)
    before = await _records(system, name)
    async with asyncio.timeout(60):
        while await _records(system, name) == before:
            await asyncio.sleep(0.05)


async def _records(system: System, name: str, outcome: str = "") -> float:
    """What a process has taken since its start; of one outcome, when it is said."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{system.url(name)}/metrics")).text
    lines = [x for x in text.splitlines() if x.startswith("dongui_propagator_records_total") and outcome in x]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


@pytest.mark.f(2, 28)
@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_hundred_kills_at_random_points_lose_nothing(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle, seed_long: int
) -> None:
    chosen = random.Random(seed_long)
    drivers = [driver(seed_long * 1000 + n) for n in range(3)]
    async with load(drivers, 600, 0.4):
        for _ in range(100):
            await asyncio.sleep(chosen.uniform(0.5, 3.0))
            await kill_and_restart(system, chosen.choice(VICTIMS))
    for name in VICTIMS:
        await system.wait_ready(name)
    assert await oracle.settled(expected, timeout_s=300) == []
    enough(expected, changes=1500, notices=100)

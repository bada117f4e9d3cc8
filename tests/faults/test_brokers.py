"""Three brokers, two of which must hold a record before it counts: one may be killed at any time, nothing is lost.

The system is one of its own: the run's other tests have a single broker.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from schemas.topics import FACTS, RECEIPTS, affiliate_topic, all_topics
from services.devstack.system import System
from tests.support.cluster import Cluster
from tests.support.driver import Driver
from tests.support.expected import AFFILIATES, Expected
from tests.support.oracle import Oracle
from tests.support.servers import JAR_CACHE, temporary_directory

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("brokers"), pytest.mark.timeout(900)]

BROKERS = 3
PAUSE_S = 0.2
LED = (FACTS, RECEIPTS, *(affiliate_topic(a) for a in AFFILIATES))


@pytest_asyncio.fixture(scope="module")
async def system() -> AsyncIterator[System]:
    """As `dongui dev up --brokers 3` starts it."""
    quiet = {f"propagator-{a}": {"DONGUI_RECONCILE_INTERVAL_S": "0"} for a in AFFILIATES}
    async with temporary_directory() as folder:
        running = System(folder, brokers=BROKERS, jar_cache=JAR_CACHE, extra=quiet)
        await running.start()
        yield running
        await running.stop()


@pytest.fixture
def cluster(system: System) -> Cluster:
    return Cluster(system.stack.bootstrap)


@contextlib.asynccontextmanager
async def constant_load(drivers: list[Driver]) -> AsyncIterator[None]:
    """Keep commands coming for as long as the block runs; every one of them is answered in the end."""
    stop = asyncio.Event()

    async def live(driver: Driver) -> None:
        while not stop.is_set():
            await driver.live(1, pause_s=PAUSE_S)

    async with asyncio.TaskGroup() as group:
        for driver in drivers:
            group.create_task(live(driver))
        try:
            yield
        finally:
            stop.set()


async def test_every_topic_lies_on_three_brokers_and_two_must_hold_a_record(system: System, cluster: Cluster) -> None:
    """Kafka's own topics too: offsets that were lost would be read again, and a lost group state is no group."""
    found = await cluster.partitions()
    assert {p.topic for p in found} == {t.name for t in all_topics(AFFILIATES)} | {"__consumer_offsets"}
    assert {p.topic for p in found if p.replicas != {1, 2, 3}} == set()
    assert set((await cluster.settings("min.insync.replicas", {p.topic for p in found})).values()) == {"2"}


async def test_leaders_and_the_controller_killed_under_load_lose_nothing(
    system: System,
    cluster: Cluster,
    driver: Callable[[int], Driver],
    expected: Expected,
    oracle: Oracle,
    seed_long: int,
) -> None:
    """kill -9 of whoever leads: a partition of each topic that matters, and twice the controllers' leader."""
    chosen = random.Random(seed_long)
    kills: list[tuple[str, float, float]] = []
    async with constant_load([driver(seed_long * 100 + n) for n in range(2)]):
        for target in chosen.sample([*LED, "controller", "controller"], 7):
            await asyncio.sleep(chosen.uniform(0.5, 2.0))
            node = await leader(cluster, target, chosen)
            kills.append((target, *await kill_and_bring_back(system, cluster, node)))
    assert await oracle.settled(expected) == []
    await nothing_is_missing_on_the_topic(cluster, expected)
    assert len(kills) == 7
    assert len(expected.changes) >= 100
    paused = max(moved for _, moved, _ in kills)
    print(f"{len(kills)} kills, {len(expected.changes)} changes, 0 lost, {await slowest(system, expected)}")
    print(f"longest without a leader somewhere {paused:.1f} s, in sync again {max(w for *_, w in kills):.1f} s")


async def test_with_two_of_three_brokers_gone_changes_wait_and_none_is_lost(
    system: System, cluster: Cluster, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle
) -> None:
    """Fewer than two in sync: no broker acknowledges, so the relay marks nothing and the outbox keeps all of it."""
    one = driver(7)
    await one.live(5)
    assert await oracle.settled(expected) == []
    names = system.stack.kafka.names[:2]
    for name in names:
        system.stack.kafka.kill_node(name)
    before = len(expected.changes)
    await one.live(40, pause_s=PAUSE_S)
    assert len(expected.changes) >= before + 20, "the consent service needs no broker to accept"
    assert await oracle.differences(expected) != []
    for name in names:
        system.stack.kafka.start_node(name)
    await system.stack.kafka.ready()
    await cluster.whole()
    assert await oracle.settled(expected) == []
    await nothing_is_missing_on_the_topic(cluster, expected)


async def leader(cluster: Cluster, target: str, chosen: random.Random) -> int:
    """Return the node that leads the controllers, or a partition of a topic."""
    return (
        await cluster.controller() if target == "controller" else await cluster.leader_of(target, chosen.randrange(8))
    )


async def kill_and_bring_back(system: System, cluster: Cluster, node: int) -> tuple[float, float]:
    """SIGKILL a node, start it again once others lead; return the seconds until they did, and until all is in sync."""
    kafka = system.stack.kafka
    name = kafka.names[node - 1]
    kafka.kill_node(name)
    moved = await cluster.led_without(node)
    kafka.start_node(name)
    await kafka.ready()
    return moved, await cluster.whole()


async def nothing_is_missing_on_the_topic(cluster: Cluster, expected: Expected) -> None:
    """What a broker acknowledged is still there, whoever was killed: one fact at least per accepted change."""
    assert expected.changes.keys() - await cluster.change_ids(FACTS) == set()


async def slowest(system: System, expected: Expected) -> str:
    """Return how long the slowest change took from its answer to the last affiliate's store."""
    connection = await asyncpg.connect(system.described()["databases"]["consent"])
    try:
        seconds: Any = await connection.fetchval(
            "SELECT extract(epoch FROM max(d.at - c.accepted_at)) FROM delivery d JOIN change c USING (change_id)"
            " WHERE c.change_id = ANY($1::uuid[]) AND d.kind = 'affiliate'",
            list(expected.changes),
        )
    finally:
        await connection.close()
    return f"the slowest was in the last store after {seconds:.1f} s"

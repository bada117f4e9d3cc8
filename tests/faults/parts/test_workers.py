"""Workers of one affiliate that come, go, freeze and fall behind: the group moves on, and no store notices."""

import asyncio
import random
import signal
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from services.propagator.agents import SESSION_S
from services.propagator.transport import EXIT_HOLE
from services.runtime import kafka
from tests.integration.propagator.harness import AFFILIATE, KeyService, Member, Process, Store, Topic, until

WORKERS_MAX = 3
STORM_S = 180
FROZEN_S = SESSION_S + 3
REJOIN_S = 60
OUTAGE_S = 60


async def applied(store: Store, members: list[Member], seq: int, timeout_s: float = 60) -> None:
    """Wait until every member is at `seq`; then each change has one answer and no gap is open."""
    wanted = len(members) * seq
    await until(lambda: store.value("SELECT coalesce(sum(seq), 0) FROM member"), wanted, timeout_s)
    assert await store.gaps() == []
    assert sorted(await store.receipts()) == sorted((c, "applied") for m in members for c in m.changes)


@pytest.mark.f(7)
async def test_workers_that_come_and_go_lose_and_double_nothing(
    topic: Topic, store: Store, workers: Callable[[str], Process]
) -> None:
    crew, members = [workers(f"w{n}") for n in range(3)], [Member() for _ in range(100)]
    await crew[0].start()
    await until(lambda: _serves(crew[0]), True)
    for seq, (goes, comes) in enumerate(pairwise(crew)):
        await topic.send(m.projection(2 * seq + 1) for m in members)
        await comes.start()
        await until(lambda w=comes: _serves(w), True)
        await topic.send(m.projection(2 * seq + 2) for m in members)
        goes.signal(signal.SIGTERM)
        assert await goes.ended() in {0, 71}
    await topic.send(m.projection(5) for m in members)
    await applied(store, members, 5)


async def _serves(worker: Process) -> bool:
    return "health_served" in worker.events()


@pytest.mark.f(7)
@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_storm_of_rebalances_loses_and_doubles_nothing(
    topic: Topic, store: Store, workers: Callable[[str], Process], seed_long: int
) -> None:
    """Every five seconds one more or one less, killed or stopped, up to three at a time, for three minutes."""
    dice, alive, made = random.Random(seed_long), list[Process](), 0
    members, seq = [Member() for _ in range(50)], 0
    ends_at = asyncio.get_running_loop().time() + STORM_S
    while asyncio.get_running_loop().time() < ends_at:
        if len(alive) < 2 or (len(alive) < WORKERS_MAX and dice.random() < 0.5):
            alive.append(workers(f"w{(made := made + 1)}"))
            await alive[-1].start()
        else:
            goes = alive.pop(dice.randrange(len(alive)))
            goes.signal(dice.choice([signal.SIGKILL, signal.SIGTERM]))
            await goes.ended()
        for _ in range(10):
            seq += 1
            await topic.send(m.projection(seq) for m in members)
            await asyncio.sleep(0.5)
    await applied(store, members, seq, 120)


@pytest.mark.f(6, 8)
@pytest.mark.long
async def test_a_worker_frozen_beyond_its_session_comes_back_and_overwrites_nothing(
    topic: Topic, store: Store, keys: KeyService, workers: Callable[[str], Process]
) -> None:
    """It is frozen while it asks for a key: its records are applied by another, go on, and then it goes on too."""
    frozen, other, members = workers("frozen"), workers("other"), [Member() for _ in range(20)]
    keys.hold = asyncio.Event()
    hold = keys.hold
    await topic.send(m.projection(1) for m in members)
    await frozen.start()
    await until(_taken(keys), True)
    frozen.freeze()
    with pytest.raises(httpx.TimeoutException):
        await frozen.health("/livez")
    await other.start()
    await topic.send(m.projection(2) for m in members)
    await asyncio.sleep(FROZEN_S)
    await applied(store, members, 2)
    before = await store.snapshot()
    hold.set()
    frozen.signal(signal.SIGCONT)
    async with asyncio.timeout(REJOIN_S):
        while not await _duplicates(frozen):
            await asyncio.sleep(0.2)
    assert await store.snapshot() == before
    other.signal(signal.SIGTERM)
    assert await other.ended() in {0, 71}
    await topic.send(m.projection(3) for m in members)
    await applied(store, members, 3, REJOIN_S)


def _taken(keys: KeyService) -> Any:
    async def taken() -> bool:
        return keys.hold is None

    return taken


async def _duplicates(worker: Process) -> float:
    """How many records the worker found already applied."""
    text = (await worker.health("/metrics")).text
    found = [n for n in text.splitlines() if n.startswith("dongui_propagator_records_total") and '"duplicate"' in n]
    return sum(float(line.rpartition(" ")[2]) for line in found)


@pytest.mark.f(11)
async def test_a_transaction_marker_ends_the_process_and_the_offset_stays_before_it(
    process: Process, topic: Topic, store: Store
) -> None:
    """Nobody may write transactionally to our topics; who does is noticed, and nothing is skipped over."""
    first, marked, after = Member(), Member(), Member()
    await topic.send([first.projection(1)], partition=4)
    await process.start()
    await until(lambda: store.value("SELECT count(*) FROM member"), 1)
    producer = AIOKafkaProducer(bootstrap_servers=str(topic.settings.kafka), transactional_id="somebody-else")
    await producer.start()
    try:
        async with producer.transaction():
            sent = marked.projection(1)
            await producer.send(topic.name, key=sent.key, value=sent.value, headers=sent.headers, partition=4)
    finally:
        await producer.stop()
    await until(lambda: store.value("SELECT count(*) FROM member"), 2)
    await until(lambda: _end(topic, 4), 3)  # the broker writes the marker in its own time
    await topic.send([after.projection(1)], partition=4)
    assert await process.ended(30) == EXIT_HOLE
    assert await topic.committed() <= 2
    assert await store.value("SELECT count(*) FROM member") == 2


async def _end(topic: Topic, partition: int) -> int:
    async with kafka.consuming(topic.settings) as consumer:
        tp = TopicPartition(topic.name, partition)
        return int((await consumer.end_offsets([tp]))[tp])


@pytest.mark.f(5)
@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_backlog_beyond_every_buffer_drains_by_itself_and_in_order(
    process: Process, topic: Topic, store: Store, databases: Any
) -> None:
    """Records trickle in for a minute, so that far more fetches wait than a process has room for."""
    members, seq = [Member() for _ in range(40)], 1
    await topic.send(m.projection(1) for m in members)
    await process.start()
    await applied(store, members, 1)
    ends_at = asyncio.get_running_loop().time() + OUTAGE_S
    async with databases.blocked(AFFILIATE):
        while asyncio.get_running_loop().time() < ends_at:
            seq += 1
            await topic.send(m.projection(seq) for m in members)
            await asyncio.sleep(0.1)
    await applied(store, members, seq, 120)
    assert "process_left" not in process.events()

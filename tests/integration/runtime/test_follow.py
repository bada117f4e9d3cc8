"""The follower: effects and offsets in one transaction, so that a fault between leaves both or neither."""

import asyncio
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer

from schemas.topics import FACTS
from services.runtime import consumer, kafka, pulse
from services.runtime.consumer import PostgresOffsets, follow
from services.runtime.settings import Settings

COUNT = "SELECT count(*) FROM effect"


@pytest_asyncio.fixture(autouse=True)
async def effects(databases: Any, pool: asyncpg.Pool) -> None:
    """A table of effects that allows one thing twice, so that a double effect shows."""
    owner = await asyncpg.connect(databases.owner_dsn("consent"))
    await owner.execute("CREATE TABLE effect (n int); GRANT SELECT, INSERT ON effect TO consent")
    await owner.close()


async def send(settings: Settings, *numbers: int) -> None:
    producer = await kafka.producer(settings)
    for number in numbers:
        await producer.send_and_wait(settings.topic_prefix + FACTS, value=str(number).encode(), key=b"k%d" % number)
    await producer.stop()


async def insert(tx: Any, batch: Any) -> None:
    await tx.executemany("INSERT INTO effect VALUES ($1)", [(int(r.value),) for r in batch])


def following(settings: Settings, pool: asyncpg.Pool, stop: asyncio.Event, **options: Any) -> "asyncio.Task[None]":
    chosen = {"handle": insert, "topics": [FACTS], "offsets": PostgresOffsets(), "pool": pool, "stop": stop}
    return asyncio.create_task(follow(settings, **(chosen | options)))


async def until(pool: asyncpg.Pool, count: int) -> None:
    async with asyncio.timeout(20):
        while await pool.fetchval(COUNT) < count:
            await asyncio.sleep(0.05)


async def stopped(task: "asyncio.Task[None]", stop: asyncio.Event) -> None:
    stop.set()
    await asyncio.wait_for(task, 5)


async def numbers(pool: asyncpg.Pool) -> list[int]:
    return [row["n"] for row in await pool.fetch("SELECT n FROM effect ORDER BY n")]


async def test_each_record_has_its_effect_once_over_a_restart(settings: Settings, pool: asyncpg.Pool) -> None:
    await send(settings, *range(20))
    for upto in (20, 40):
        stop = asyncio.Event()
        task = following(settings, pool, stop)
        await until(pool, upto)
        await stopped(task, stop)
        await send(settings, *range(upto, upto + 20))
    assert await numbers(pool) == list(range(40))


async def test_a_fault_after_the_effects_leaves_neither_effects_nor_offsets(
    settings: Settings, pool: asyncpg.Pool
) -> None:
    faults = iter([True, True])

    async def fragile(tx: Any, batch: Any) -> None:
        await insert(tx, batch)
        if next(faults, False):
            raise RuntimeError("between the effects and the offsets")

    await send(settings, *range(20))
    stop = asyncio.Event()
    task = following(settings, pool, stop, handle=fragile, batch_max=5)
    await until(pool, 20)
    await stopped(task, stop)
    assert await numbers(pool) == list(range(20))


async def test_a_connection_cut_in_the_middle_leaves_neither(
    settings: Settings, pool: asyncpg.Pool, databases: Any
) -> None:
    cuts = iter([True])

    async def cut(tx: Any, batch: Any) -> None:
        await insert(tx, batch)
        if next(cuts, False):
            admin = await asyncpg.connect(databases.admin_dsn)
            await admin.execute("SELECT pg_terminate_backend($1)", tx.get_server_pid())
            await admin.close()

    await send(settings, *range(10))
    stop = asyncio.Event()
    task = following(settings, pool, stop, handle=cut)
    await until(pool, 10)
    await stopped(task, stop)
    assert await numbers(pool) == list(range(10))


async def test_a_stop_in_the_middle_of_a_batch_rolls_it_back(settings: Settings, pool: asyncpg.Pool) -> None:
    reached = asyncio.Event()

    async def slow(tx: Any, batch: Any) -> None:
        await insert(tx, batch)
        reached.set()
        await asyncio.sleep(60)

    await send(settings, 1)
    stop = asyncio.Event()
    task = following(settings, pool, stop, handle=slow)
    await asyncio.wait_for(reached.wait(), 20)
    await stopped(task, stop)
    assert await numbers(pool) == []
    again = asyncio.Event()
    task = following(settings, pool, again)
    await until(pool, 1)
    await stopped(task, again)


async def test_it_says_when_it_has_caught_up(settings: Settings, pool: asyncpg.Pool) -> None:
    await send(settings, *range(7))
    stop, caught_up = asyncio.Event(), asyncio.Event()
    task = following(settings, pool, stop, caught_up=caught_up)
    await asyncio.wait_for(caught_up.wait(), 20)
    assert await numbers(pool) == list(range(7))
    await stopped(task, stop)


async def test_topics_that_do_not_exist_yet_are_waited_for(settings: Settings, pool: asyncpg.Pool) -> None:
    stop = asyncio.Event()
    task = following(settings, pool, stop, topics=["not.there"])
    await asyncio.sleep(0.5)
    assert not task.done()
    await stopped(task, stop)


async def test_a_consumer_that_brings_nothing_while_records_wait_is_replaced(
    settings: Settings, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka can stay stuck after a broker's restart and says nothing (aiokafka #1154)."""
    monkeypatch.setattr(consumer, "LOOK_S", 0.1)
    monkeypatch.setattr(consumer, "STUCK_S", 0.3)
    opened = []

    def stuck_at_first(*args: Any, **options: Any) -> AIOKafkaConsumer:
        made = AIOKafkaConsumer(bootstrap_servers=settings.kafka, **options)
        if not opened:
            monkeypatch.setattr(made, "getmany", nothing)
        opened.append(made)
        return made

    async def nothing(**_: Any) -> dict[Any, Any]:
        await asyncio.sleep(0.01)
        return {}

    monkeypatch.setattr(kafka, "consumer", stuck_at_first)
    await send(settings, *range(5))
    stop = asyncio.Event()
    task = following(settings, pool, stop)
    await until(pool, 5)
    await stopped(task, stop)
    assert await numbers(pool) == list(range(5))
    assert len(opened) == 2


async def test_a_handler_that_never_succeeds_is_a_stall_though_the_loop_turns(
    settings: Settings, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(tx: Any, batch: Any) -> None:
        raise ValueError

    monkeypatch.setattr(pulse, "_running", set())
    await send(settings, 1)
    stop = asyncio.Event()
    task = following(settings, pool, stop, handle=fail, application="failing")
    async with asyncio.timeout(20):
        while pulse.stalled(after_s=0.5) != ["failing"]:
            await asyncio.sleep(0.05)
    await stopped(task, stop)
    assert pulse.stalled(after_s=0) == [], "what has ended is not stalled"


async def test_a_server_that_is_away_is_no_stall_of_this_process(
    settings: Settings, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    async def refused(tx: Any, batch: Any) -> None:
        tried.append(batch)
        raise ConnectionRefusedError

    monkeypatch.setattr(pulse, "_running", set())
    await send(settings, 1)
    stop = asyncio.Event()
    task = following(settings, pool, stop, handle=refused)
    async with asyncio.timeout(20):
        while len(tried) < 2:
            await asyncio.sleep(0.05)
    (beat,) = pulse._running
    await asyncio.sleep(0.05)
    assert beat._waits_since is None, "a new start would not help"
    await stopped(task, stop)

"""The relay: everything that was committed is published, a member's records in order, whatever dies on the way."""

import asyncio
import random
import signal
import sys
import uuid
from collections import defaultdict
from functools import partial
from typing import Any

import asyncpg
import pytest
from aiokafka import ConsumerRecord

from schemas.topics import FACTS
from services.runtime import kafka, outbox
from services.runtime.relay import FORGET, FORGOTTEN_MAX, MARK, SELECT, Relay
from services.runtime.relay import PUBLISHED as MARKED
from services.runtime.settings import Settings
from tests.integration.consent.harness import read_all

MEMBERS = 12
UNPUBLISHED = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
LEASES = """
SELECT count(*) AS n FROM pg_locks JOIN pg_database d ON d.oid = database
WHERE locktype = 'advisory' AND d.datname = current_database() GROUP BY pid
"""
Records = list["ConsumerRecord[Any, Any]"]


def a_relay(settings: Settings, **options: Any) -> Relay:
    factory = partial(kafka.producer, settings)
    return Relay(settings.secret("consent_dsn"), factory, prefix=settings.topic_prefix, **options)


async def write(pool: asyncpg.Pool, member: str, first: int, count: int) -> None:
    """Commit rows of one member, each in a transaction of its own, numbered in commit order."""
    for number in range(first, first + count):
        record = outbox.Record(str(uuid.uuid4()), FACTS, member, "t", str(number).encode(), {"n": str(number)})
        async with pool.acquire() as connection, connection.transaction():
            await outbox.append(connection, [record])


async def drained(pool: asyncpg.Pool, timeout_s: float = 40) -> None:
    async with asyncio.timeout(timeout_s):
        while await pool.fetchval(UNPUBLISHED):
            await asyncio.sleep(0.05)


def by_member(records: Records) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for record in records:
        found[record.key.decode()].append(int(record.value))
    return found


def first_seen(numbers: list[int]) -> list[int]:
    """The order in which numbers arrived, repetitions left out: what a consumer that drops duplicates sees."""
    return list(dict.fromkeys(numbers))


async def test_rows_are_published_in_order_with_key_value_and_headers(settings: Settings, pool: asyncpg.Pool) -> None:
    before = MARKED.labels("relay")._value.get()
    members = [str(uuid.uuid4()) for _ in range(MEMBERS)]
    await asyncio.gather(*(write(pool, m, 0, 20) for m in members))
    stop = asyncio.Event()
    running = asyncio.create_task(a_relay(settings).run(stop))
    await drained(pool)
    stop.set()
    await running
    records = await read_all(settings, FACTS, {})
    assert by_member(records) == {m: list(range(20)) for m in members}
    assert records[0].headers == (("n", records[0].value),)
    assert MARKED.labels("relay")._value.get() - before == MEMBERS * 20


@pytest.mark.f(15)
async def test_two_relays_share_the_shards_and_keep_each_members_order(settings: Settings, pool: asyncpg.Pool) -> None:
    members = [str(uuid.uuid4()) for _ in range(MEMBERS)]
    stop = asyncio.Event()
    relays = [asyncio.create_task(a_relay(settings, shards_max=8).run(stop)) for _ in range(2)]
    await asyncio.gather(*(write(pool, m, 0, 30) for m in members))
    await drained(pool)
    leases = await pool.fetch(LEASES)
    assert sorted(row["n"] for row in leases) == [8, 8]
    stop.set()
    await asyncio.gather(*relays)
    found = by_member(await read_all(settings, FACTS, {}))
    assert found == {m: list(range(30)) for m in members}, "in order, and nothing twice"


async def test_nothing_that_rolls_back_is_published(settings: Settings, pool: asyncpg.Pool) -> None:
    record = outbox.Record(str(uuid.uuid4()), FACTS, "m", "t", b"1", {})
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await outbox.append(connection, [record])
        await transaction.rollback()
    stop = asyncio.Event()
    running = asyncio.create_task(a_relay(settings).run(stop))
    await write(pool, "m", 2, 1)
    await drained(pool)
    stop.set()
    await running
    assert by_member(await read_all(settings, FACTS, {})) == {"m": [2]}


@pytest.mark.f(16)
async def test_an_error_while_marking_publishes_again_and_loses_nothing(
    settings: Settings, pool: asyncpg.Pool, databases: Any
) -> None:
    owner = await asyncpg.connect(databases.owner_dsn("consent"))
    await owner.execute("CREATE SEQUENCE faults; GRANT USAGE ON faults TO PUBLIC")
    await owner.close()
    fail = f"{MARK} AND 1 / (nextval('faults') > 2)::int = 1"  # twice; a sequence does not roll back
    await write(pool, "m", 0, 10)
    stop = asyncio.Event()
    running = asyncio.create_task(a_relay(settings, mark=fail).run(stop))
    await drained(pool)
    stop.set()
    await running
    numbers = by_member(await read_all(settings, FACTS, {}))["m"]
    assert first_seen(numbers) == list(range(10))
    assert len(numbers) > 10, "at least once: the fault came after the broker had them"


async def test_a_lost_database_connection_is_a_new_session(
    settings: Settings, pool: asyncpg.Pool, databases: Any
) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(a_relay(settings).run(stop))
    await write(pool, "m", 0, 5)
    await drained(pool)
    admin = await asyncpg.connect(databases.admin_dsn)
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dongui-relay'"
    )
    await admin.close()
    await write(pool, "m", 5, 5)
    await drained(pool)
    stop.set()
    await running
    assert first_seen(by_member(await read_all(settings, FACTS, {}))["m"]) == list(range(10))


PROGRAM = """
import asyncio
from functools import partial
from services.runtime import kafka
from services.runtime.relay import Relay
from services.runtime.settings import Settings
s = Settings()
relay = Relay(s.secret("consent_dsn"), partial(kafka.producer, s), prefix=s.topic_prefix, shards_max=16)
asyncio.run(relay.run(asyncio.Event()))
"""


@pytest.mark.f(2, 15)
async def test_relays_killed_at_random_points_lose_and_invert_nothing(settings: Settings, pool: asyncpg.Pool) -> None:
    told = {
        "DONGUI_PROFILE": "dev",
        "DONGUI_KAFKA": str(settings.kafka),
        "DONGUI_TOPIC_PREFIX": settings.topic_prefix,
        "DONGUI_CONSENT_DSN": settings.secret("consent_dsn"),
        "PYTHONPATH": ".",
    }
    dice = random.Random(7)
    members = [str(uuid.uuid4()) for _ in range(MEMBERS)]
    writing = asyncio.gather(*(write(pool, m, 0, 60) for m in members))
    for _ in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, env=told, stderr=asyncio.subprocess.DEVNULL
        )
        before = await pool.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NOT NULL")
        async with asyncio.timeout(30):
            while await pool.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NOT NULL") == before:
                if await pool.fetchval(UNPUBLISHED) == 0:
                    await write(pool, members[0], 1000 + before, 1)
                await asyncio.sleep(0.01)
        await asyncio.sleep(dice.random() * 0.2)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await writing
    stop = asyncio.Event()
    running = asyncio.create_task(a_relay(settings).run(stop))
    await drained(pool)
    stop.set()
    await running
    found = by_member(await read_all(settings, FACTS, {}))
    for member in members:
        assert [n for n in first_seen(found[member]) if n < 1000] == list(range(60))


@pytest.mark.f(10, 17)
async def test_a_relay_waits_for_a_broker_that_is_away_and_can_be_stopped_meanwhile(
    settings: Settings, pool: asyncpg.Pool
) -> None:
    away = settings.model_copy(update={"kafka": "127.0.0.1:1"})
    await write(pool, "m", 0, 3)
    stop = asyncio.Event()
    running = asyncio.create_task(a_relay(away).run(stop))
    await asyncio.sleep(1)
    assert await pool.fetchval(UNPUBLISHED) == 3
    stop.set()
    await asyncio.wait_for(running, 10)
    again = asyncio.Event()
    recovered = asyncio.create_task(a_relay(settings).run(again))
    await drained(pool)
    again.set()
    await recovered


PUBLISHED = """
INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, headers, shard, published_at)
SELECT gen_random_uuid(), 't', 'k', 't', '\\x00', '{}', n % 16, CASE WHEN n <= 40000 THEN now() END
FROM generate_series(1, 45000) n
"""


async def test_what_was_published_long_ago_is_not_read_again(databases: Any) -> None:
    """The plan of the relay's question: rows that went out are not even filtered, however many there are."""
    connection = await asyncpg.connect(databases.owner_dsn("consent"))
    try:
        await connection.execute(PUBLISHED)
        for _ in range(2):  # before anybody gathered statistics, and after
            for held in ([3], list(range(16))):
                plan = await connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF) {SELECT}", held, 500, [])
                told = "\n".join(row[0] for row in plan)
                assert "outbox_pending" in told, told
                assert "Removed by Filter" not in told, told
            await connection.execute("ANALYZE outbox")
    finally:
        await connection.close()


OLD = """
INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, headers, shard, published_at)
SELECT gen_random_uuid(), 't', 'k', t.type, '\\x00', '{}', 1, t.at FROM (
    SELECT 'old' AS type, now() - interval '25 hours' AS at FROM generate_series(1, 2500)
    UNION ALL SELECT 'young', now() - interval '23 hours'
    UNION ALL SELECT 'waits', NULL) t
"""
OUTBOXES = ("consent", "tmax-os", "notices", "retention", "console")


@pytest.mark.parametrize("database", OUTBOXES)
async def test_a_process_may_forget_what_was_published_a_day_ago_and_delete_nothing_else(
    database: str, databases: Any
) -> None:
    owner = await asyncpg.connect(databases.owner_dsn(database))
    process = await asyncpg.connect(databases.dsn(database))
    try:
        await owner.execute(OLD)
        assert [await process.fetchval(FORGET) for _ in range(4)] == [FORGOTTEN_MAX, FORGOTTEN_MAX, 500, 0]
        left = {row["type"] for row in await owner.fetch("SELECT type FROM outbox")}
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await process.execute("DELETE FROM outbox")
    finally:
        await asyncio.gather(owner.close(), process.close())
    assert left == {"young", "waits"}


async def test_a_relay_forgets_what_was_published_long_ago(
    settings: Settings, pool: asyncpg.Pool, databases: Any
) -> None:
    owner = await asyncpg.connect(databases.owner_dsn("consent"))
    await owner.execute(OLD)
    await owner.execute("DELETE FROM outbox WHERE published_at IS NULL")  # it is no record of ours
    await owner.close()
    stop = asyncio.Event()
    running = asyncio.create_task(a_relay(settings).run(stop))
    async with asyncio.timeout(40):
        while await pool.fetchval("SELECT count(*) FROM outbox") != 1:
            await asyncio.sleep(0.05)
    stop.set()
    await running

"""The outbox under concurrency and trouble: nothing committed stays behind, no member's order is turned round."""

import asyncio
import os
import random
import signal
import socket
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
import pytest
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber, ProducerFenced

from schemas.topics import FACTS
from services.runtime import kafka, outbox, relay
from services.runtime.relay import Relay
from services.runtime.settings import Settings
from tests.faults.parts.conftest import WRITERS
from tests.integration.consent.harness import read_all
from tests.integration.propagator.harness import AFFILIATE, TOPIC, Member, Process, Sent, Store, Topic, until
from tests.support.freezing import freeze

RELAYS = 4
MEMBERS = 20
UNPUBLISHED = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
RECOVERY_S = 30


def a_relay(settings: Settings, producer: Callable[[], Awaitable[Any]] | None = None, **options: Any) -> Relay:
    factory = producer or partial(kafka.producer, settings)
    return Relay(settings.secret("consent_dsn"), factory, prefix=settings.topic_prefix, **options)


@asynccontextmanager
async def relays(*running: Relay) -> AsyncIterator[None]:
    """Let relays run for the block."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(one.run(stop)) for one in running]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def drained(pool: asyncpg.Pool, timeout_s: float = 60) -> None:
    await until(lambda: pool.fetchval(UNPUBLISHED), 0, timeout_s)


def of(member: str, number: int) -> outbox.Record:
    return outbox.Record(str(uuid.uuid4()), FACTS, member, "t", str(number).encode(), {})


async def write(pool: asyncpg.Pool, member: str, numbers: range) -> None:
    for number in numbers:
        async with pool.acquire() as connection, connection.transaction():
            await outbox.append(connection, [of(member, number)])


async def published(settings: Settings) -> dict[str, list[int]]:
    """What the broker has by member, in order, repetitions left out."""
    found: dict[str, list[int]] = defaultdict(list)
    for record in await read_all(settings, FACTS, {}):
        found[record.key.decode()].append(int(record.value))
    return {member: list(dict.fromkeys(numbers)) for member, numbers in found.items()}


@pytest.mark.f(14)
async def test_a_row_that_commits_after_a_higher_one_is_published_too(
    relaying: Settings, outbox_pool: asyncpg.Pool
) -> None:
    first, second = _of_one_shard()
    async with relays(a_relay(relaying)), outbox_pool.acquire() as slow:
        late = slow.transaction()
        await late.start()
        await outbox.append(slow, [of(first, 1)])
        await write(outbox_pool, second, range(1, 4))
        await until(lambda: outbox_pool.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NOT NULL"), 3)
        await late.commit()
        await drained(outbox_pool)
    assert await outbox_pool.fetchval("SELECT min(position) FROM outbox WHERE aggregateid = $1", first) == 1
    assert await published(relaying) == {first: [1], second: [1, 2, 3]}


def _of_one_shard() -> tuple[str, str]:
    first = str(uuid.uuid4())
    while True:
        second = str(uuid.uuid4())
        if outbox.shard_of(second) == outbox.shard_of(first):
            return first, second


@pytest.mark.f(14, 15)
async def test_four_relays_and_fifty_writers_lose_and_invert_nothing(
    relaying: Settings, outbox_pool: asyncpg.Pool, databases: Any
) -> None:
    await _storm(relaying, outbox_pool, databases.admin_dsn, 1_000, seed=15)


@pytest.mark.f(14, 15)
@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_a_hundred_thousand_changes_by_fifty_writers_lose_and_invert_nothing(
    relaying: Settings, outbox_pool: asyncpg.Pool, databases: Any, seed_long: int
) -> None:
    await _storm(relaying, outbox_pool, databases.admin_dsn, 100_000, seed=seed_long)


async def _storm(settings: Settings, pool: asyncpg.Pool, admin_dsn: str, changes: int, *, seed: int) -> None:
    """Writers hold members' locks for random times; a relay loses its session, and its leases, now and then."""
    dice = random.Random(seed)
    members = [str(uuid.UUID(int=dice.getrandbits(128), version=4)) for _ in range(MEMBERS)]
    await pool.execute("CREATE TABLE turn (member text PRIMARY KEY, seq int NOT NULL)")
    await pool.executemany("INSERT INTO turn VALUES ($1, 0)", [(m,) for m in members])
    todo = iter([dice.choice(members) for _ in range(changes)])

    async def writer() -> None:
        for member in todo:
            async with pool.acquire() as connection, connection.transaction():
                seq = await connection.fetchval("UPDATE turn SET seq = seq + 1 WHERE member = $1 RETURNING seq", member)
                await outbox.append(connection, [of(member, seq)])
                await asyncio.sleep(dice.random() * 0.004)

    async with relays(*(a_relay(settings, shards_max=6, application=f"relay-{n}") for n in range(RELAYS))):
        cutting = asyncio.create_task(_cut_sessions(admin_dsn, dice))
        await asyncio.gather(*(writer() for _ in range(WRITERS)))
        cutting.cancel()
        await drained(pool, 120)
    written = {row["member"]: row["seq"] for row in await pool.fetch("SELECT * FROM turn WHERE seq > 0")}
    assert sum(written.values()) == changes
    assert await published(settings) == {m: list(range(1, seq + 1)) for m, seq in written.items()}


async def _cut_sessions(admin_dsn: str, dice: random.Random) -> None:
    connection = await asyncpg.connect(admin_dsn)
    try:
        while True:
            await asyncio.sleep(dice.uniform(0.2, 0.8))
            name = f"dongui-relay-{dice.randrange(RELAYS)}"
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", name
            )
    finally:
        connection.terminate()


class Paused:
    """A producer whose relay is paused between reading and sending, until `go` is set."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def send_batch(self, *args: Any, **options: Any) -> Any:
        self.reached.set()
        await self.go.wait()
        return await self._real.send_batch(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.f(16)
async def test_late_duplicates_of_a_relay_that_lost_its_lease_change_no_store(
    relaying: Settings, outbox_pool: asyncpg.Pool, databases: Any, process: Process, topic: Topic, store: Store
) -> None:
    members = [Member() for _ in range(10)]
    sent = [m.projection(seq) for seq in (1, 2) for m in members]
    async with outbox_pool.acquire() as connection, connection.transaction():
        await outbox.append(connection, [_row(one) for one in sent])
    paused = Paused(await kafka.producer(relaying))
    waiting = iter([paused])

    async def producer() -> Any:
        return next(waiting, None) or await kafka.producer(relaying)

    await process.start()
    async with relays(a_relay(relaying, producer, application="paused")):
        await asyncio.wait_for(paused.reached.wait(), 20)
        admin = await asyncpg.connect(databases.admin_dsn)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", "dongui-paused"
        )
        await admin.close()
        async with relays(a_relay(relaying)):
            await drained(outbox_pool)
        await until(topic.committed, len(sent))
        before, answered = await store.snapshot(), await store.receipts()
        paused.go.set()
        await until(topic.committed, 2 * len(sent))
    assert await store.snapshot() == before
    assert await store.receipts() == answered
    assert sorted(answered) == sorted((c, "applied") for m in members for c in m.changes)


FROZEN = """
import asyncio
from functools import partial
from services.runtime import kafka, postgres
from services.runtime.relay import Relay
from services.runtime.settings import Settings
postgres.LEASE_IDLE_S = 2  # a minute in the product
s = Settings()
relay = Relay(s.secret("consent_dsn"), partial(kafka.producer, s), prefix=s.topic_prefix)
asyncio.run(relay.run(asyncio.Event()))
"""


@pytest.mark.f(16)
async def test_a_frozen_relay_loses_its_shards_to_another_and_comes_back_without_harm(
    relaying: Settings, outbox_pool: asyncpg.Pool
) -> None:
    """Frozen, its kernel still keeps the connection: without an end of the session its shards would stand still."""
    env = {"DONGUI_PROFILE": "dev", "DONGUI_KAFKA": str(relaying.kafka), "DONGUI_TOPIC_PREFIX": relaying.topic_prefix}
    env |= {"DONGUI_CONSENT_DSN": relaying.secret("consent_dsn"), "PYTHONPATH": "."}
    frozen = await asyncio.create_subprocess_exec(sys.executable, "-c", FROZEN, env=env)
    try:
        await write(outbox_pool, "m", range(1, 6))
        await drained(outbox_pool)
        freeze(frozen.pid)
        await write(outbox_pool, "m", range(6, 11))
        async with relays(a_relay(relaying)):
            await drained(outbox_pool, 20)
            frozen.send_signal(signal.SIGCONT)
            await write(outbox_pool, "m", range(11, 16))
            await drained(outbox_pool)
    finally:
        frozen.kill()
        await frozen.wait()
    assert await published(relaying) == {"m": list(range(1, 16))}


@pytest.mark.f(16)
async def test_both_sides_of_a_session_notice_a_machine_that_is_gone(outbox_pool: asyncpg.Pool) -> None:
    async with outbox_pool.acquire() as connection:
        told = {n: await connection.fetchval(f"SHOW {n}") for n in ("tcp_keepalives_idle", "tcp_user_timeout")}
        peer = connection._con._transport.get_extra_info("socket")
    assert told == {"tcp_keepalives_idle": "10", "tcp_user_timeout": "30000"}
    assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


def _row(sent: Sent) -> outbox.Record:
    assert sent.key is not None
    assert sent.value is not None
    headers = {name: value.decode() for name, value in sent.headers}
    return outbox.Record(headers["ce_id"], TOPIC, sent.key.decode(), headers["ce_type"], sent.value, headers)


class Broken:
    """A producer beyond repair: the broker may have what it sent, and the relay is told something else."""

    def __init__(self, real: Any, fault: type[Exception] | None) -> None:
        self._real, self._fault = real, fault
        self.sent = 0

    async def send_batch(self, *args: Any, **options: Any) -> Any:
        self.sent += 1
        return self._told(await self._real.send_batch(*args, **options))

    async def _told(self, acknowledged: Any) -> None:
        if self._fault is None:
            await asyncio.Event().wait()
        await acknowledged
        if self._fault is not None:
            raise self._fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.f(17)
@pytest.mark.parametrize("fault", [OutOfOrderSequenceNumber, ProducerFenced, None], ids=["order", "fenced", "silence"])
async def test_a_relay_recovers_from_a_producer_beyond_repair(
    relaying: Settings, outbox_pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, fault: type[Exception] | None
) -> None:
    """Of the silence only the length is shortened: the product waits 20 s for an acknowledgement."""
    monkeypatch.setattr(relay, "SEND_TIMEOUT_S", 1.0)
    made: list[Any] = []

    async def producer() -> Any:
        real = await kafka.producer(relaying)
        made.append(Broken(real, fault) if len(made) < 2 else real)
        return made[-1]

    await write(outbox_pool, "m", range(1, 21))
    begun = time.monotonic()
    async with relays(a_relay(relaying, producer)):
        await drained(outbox_pool, RECOVERY_S)
        assert time.monotonic() - begun < RECOVERY_S
        await write(outbox_pool, "m", range(21, 31))
        await drained(outbox_pool)
    assert len(made) == 3
    assert [broken.sent for broken in made[:2]] == [1, 1], "each had a batch, and the relay was not told so"
    assert await published(relaying) == {"m": list(range(1, 31))}


@pytest.mark.f(17)
async def test_a_producer_whose_broker_hangs_is_given_up_soon_and_for_good(relaying: Settings, stack: Any) -> None:
    """Found by chaos: the relay waited half a minute more for it, and then left it behind, trying for ever."""
    producer = await kafka.producer(relaying)
    topic, (broker,) = relaying.topic_prefix + FACTS, stack.kafka._children.values()
    await producer.send_and_wait(topic, value=b"1", key=b"m")
    freeze(broker.pid)
    try:
        sent = await producer.send(topic, value=b"2", key=b"m")
        begun = time.monotonic()
        await kafka.close(producer)
        assert time.monotonic() - begun < 3 * kafka.CLOSE_TIMEOUT_S
        assert producer._sender.sender_task.done()
    finally:
        os.kill(broker.pid, signal.SIGCONT)
    with pytest.raises(KafkaError):
        await sent


@pytest.mark.f(18)
async def test_a_transaction_that_stays_open_elsewhere_delays_nothing(
    relaying: Settings, outbox_pool: asyncpg.Pool, databases: Any
) -> None:
    """One in another database and one in the same, both with an id of their own; xmin-based relays would wait."""
    elsewhere = await asyncpg.connect(databases.owner_dsn(AFFILIATE))
    try:
        async with elsewhere.transaction(), outbox_pool.acquire() as here, here.transaction():
            await elsewhere.execute("SELECT pg_current_xact_id()")
            await here.execute("SELECT pg_current_xact_id()")
            async with relays(a_relay(relaying)):
                await write(outbox_pool, "m", range(30))
                await drained(outbox_pool, 20)
            longest = await outbox_pool.fetchval("SELECT max(published_at - created_at) FROM outbox")
    finally:
        await elsewhere.close()
    assert longest.total_seconds() < 5


@pytest.mark.f(19)
async def test_a_row_deleted_by_hand_is_a_gap_that_is_said_at_once_and_holds_nobody_up(
    relaying: Settings, outbox_pool: asyncpg.Pool, process: Process, store: Store
) -> None:
    """Its repair by reconcile: tests/integration/consent/test_reconcile.py."""
    member, other = Member(), Member()
    sent = [member.projection(1), member.projection(2), member.projection(3), other.projection(1)]
    async with outbox_pool.acquire() as connection, connection.transaction():
        await outbox.append(connection, [_row(one) for one in sent])
    await outbox_pool.execute("DELETE FROM outbox WHERE position = 2")
    await process.start()
    async with relays(a_relay(relaying)):
        await until(lambda: store.value("SELECT sum(seq) FROM member"), 4)
    assert await store.gaps() == [(1, 2)]
    assert "gap_opened" in process.events()
    assert (
        f'dongui_propagator_gaps_opened_total{{affiliate="{AFFILIATE}"}} 1.0' in (await process.health("/metrics")).text
    )

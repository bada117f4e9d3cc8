"""Everything read again from offset 0, after revocations and withdrawals: not one byte changes, nothing is sent."""

import hashlib
from collections.abc import Callable

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.devstack.system import System
from tests.faults.conftest import eventually
from tests.support.driver import Driver
from tests.support.expected import AFFILIATES, Expected
from tests.support.oracle import Oracle

TABLES = ("member", "processed_member", "watermark", "gap", "suppressed")
GROUPS = {f"dongui-propagator-{a}": f"dongui.affiliate.{a}.v1" for a in AFFILIATES} | {
    "dongui-notices": "dongui.notices.v1"
}
PROCESSES = [*(f"propagator-{a}" for a in AFFILIATES), "notices", "audit", "consent"]


@pytest.mark.f(20)
@pytest.mark.timeout(300)
async def test_a_full_replay_changes_nothing_and_sends_nothing(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle
) -> None:
    one = driver(401)
    await one.live(60)
    assert await oracle.settled(expected) == []
    withdrawn = sum(p.status == "withdrawn" for p in expected.people.values())
    assert withdrawn >= 1
    before = await everything(system)
    for name in PROCESSES:
        await system.stop_process(name, 15)
    await _rewind(system)
    for name in PROCESSES:
        system.start_process(name)
    for name in PROCESSES:
        await system.wait_ready(name)
    await eventually(lambda: _read_to_the_end(system), 90)
    assert await everything(system) == before
    assert await oracle.differences(expected) == []


async def _rewind(system: System) -> None:
    """Point every consumer group and every stored offset at 0."""
    for group, topic in GROUPS.items():
        consumer = AIOKafkaConsumer(bootstrap_servers=system.stack.bootstrap, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, p) for p in range(8)]
            consumer.assign(partitions)
            await consumer.commit(dict.fromkeys(partitions, 0))
        finally:
            await consumer.stop()
    for name in ("consent", "notices", *AFFILIATES):
        await _execute(system, name, "UPDATE consumer_offset SET next_offset = 0")
    await _execute(
        system,
        "audit",
        "INSERT INTO consumer_offset (topic, partition, next_offset)"
        " SELECT DISTINCT topic, partition, 0 FROM consumer_offset",
    )


async def _execute(system: System, name: str, statement: str) -> None:
    connection = await asyncpg.connect(system.installation.access.owner_dsn(name))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def everything(system: System) -> dict[str, str]:
    """Return a digest of every table of every store, and what was logged, sent and told."""
    found: dict[str, str] = {}
    for affiliate in AFFILIATES:
        for table in TABLES:
            found[f"{affiliate}.{table}"] = await _digest(system, affiliate, f"SELECT * FROM {table} ORDER BY 1, 2")
        found[f"{affiliate}.outbox"] = await _digest(system, affiliate, "SELECT count(*) FROM outbox")
    found["consent.delivery"] = await _digest(system, "consent", "SELECT * FROM delivery ORDER BY 1, 2")
    found["audit.entry"] = await _digest(system, "audit", "SELECT count(*), max(index) FROM entry")
    found["notices.outbox"] = await _digest(system, "notices", "SELECT count(*) FROM outbox")
    return found


async def _digest(system: System, name: str, statement: str) -> str:
    connection = await asyncpg.connect(system.installation.access.owner_dsn(name))
    try:
        rows = await connection.fetch(statement)
    finally:
        await connection.close()
    return hashlib.sha256(repr([tuple(r) for r in rows]).encode()).hexdigest()


async def _read_to_the_end(system: System) -> bool:
    """Whether every group has committed the end of its topic."""
    for group, topic in GROUPS.items():
        consumer = AIOKafkaConsumer(bootstrap_servers=system.stack.bootstrap, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, p) for p in range(8)]
            ends = await consumer.end_offsets(partitions)
            for partition in partitions:
                if ends[partition] and (await consumer.committed(partition) or 0) < ends[partition]:
                    return False
        finally:
            await consumer.stop()
    return True

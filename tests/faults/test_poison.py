"""Records nobody can use: each goes to the dead-letter topic once with its reason; its neighbours are applied."""

import uuid
from collections.abc import Callable

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from services.devstack.system import System
from tests.faults.conftest import eventually
from tests.support.driver import Driver
from tests.support.expected import Expected
from tests.support.oracle import Oracle

TOPIC = "dongui.affiliate.tmax-os.v1"


def headers(member: str, **changed: str) -> list[tuple[str, bytes]]:
    """Good headers of a projection, but for what is changed."""
    good = {
        "ce_id": str(uuid.uuid4()),
        "ce_type": "kr.dongui.member.corrected.v1",
        "ce_source": "/dongui/consent",
        "ce_specversion": "1.0",
        "ce_time": "2026-11-24T00:00:00Z",
        "ce_subject": member,
        "ce_sequence": "7",
        "ce_previous": "6",
        "ce_dataschema": "urn:dongui:projection:v1",
        "content-type": "application/jose",
    }
    return [(name, text.encode()) for name, text in (good | changed).items()]


def poison(member: str) -> dict[str, tuple[bytes | None, list[tuple[str, bytes]]]]:
    """Return by expected reason a value and headers."""
    stop = {"ce_dataschema": "urn:dongui:stop:v1", "content-type": "application/json"}
    return {
        "bad_json": (b'{"stop":', headers(member, **stop)),
        "unknown_type": (b"{}", headers(member, **stop, ce_type="kr.dongui.member.invented.v1")),
        "unknown_schema": (b"{}", headers(member, ce_dataschema="urn:dongui:projection:v9")),
        "bad_jwe": (b"not.a.jwe", headers(member)),
        "null_value": (None, headers(member)),
        "bad_headers": (b"{}", [("ce_id", b"\xff\xfe")]),
        "unknown_field": (b'{"surprise":1}', headers(member, **stop)),
    }


@pytest.mark.f(9)
@pytest.mark.timeout(180)
async def test_poison_goes_to_the_dead_letter_topic_once_and_stops_nobody(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle
) -> None:
    one = driver(301)
    await one.live(6)
    member = str(uuid.uuid4())
    start = await _end(system)
    producer = AIOKafkaProducer(bootstrap_servers=system.stack.bootstrap)
    await producer.start()
    try:
        for value, found in poison(member).values():
            await producer.send_and_wait(TOPIC, value=value, key=member.encode(), headers=found)
    finally:
        await producer.stop()
    await one.live(6)
    wanted = sorted(poison(member))

    async def all_there() -> bool:
        return len(await _dead(system, start)) >= len(wanted)

    await eventually(all_there)
    assert await oracle.settled(expected) == []
    assert sorted(await _dead(system, start)) == wanted


async def _end(system: System) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=system.stack.bootstrap)
    await consumer.start()
    try:
        partition = TopicPartition(f"{TOPIC}.dlq", 0)
        return int((await consumer.end_offsets([partition]))[partition])
    finally:
        await consumer.stop()


async def _dead(system: System, start: int) -> list[str]:
    """Return the reasons of the dead letters from an offset on."""
    consumer = AIOKafkaConsumer(bootstrap_servers=system.stack.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        partition = TopicPartition(f"{TOPIC}.dlq", 0)
        consumer.assign([partition])
        consumer.seek(partition, start)
        found = (await consumer.getmany(partition, timeout_ms=500)).get(partition, [])
        return [dict(r.headers)["dongui-error"].decode() for r in found]
    finally:
        await consumer.stop()


@pytest.mark.f(9)
async def test_a_dead_letter_is_never_in_a_log(system: System, driver: Callable[[int], Driver]) -> None:
    """A canary value inside a poison record appears in no process's log."""
    canary = f"canary{uuid.uuid4().hex}@example.kr"
    producer = AIOKafkaProducer(bootstrap_servers=system.stack.bootstrap)
    await producer.start()
    start = await _end(system)
    try:
        stop = {"ce_dataschema": "urn:dongui:stop:v1", "content-type": "application/json"}
        await producer.send_and_wait(TOPIC, value=f'{{"email":"{canary}"}}'.encode(), headers=headers(canary, **stop))
    finally:
        await producer.stop()

    async def arrived() -> bool:
        return bool(await _dead(system, start))

    await eventually(arrived)
    logs = "".join(p.read_text(errors="replace") for p in (system.base_dir / "log").glob("*.log"))
    assert canary not in logs


@pytest.mark.f(15)
async def test_two_writers_on_one_member_leave_one_order(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle
) -> None:
    """Twenty corrections at once with If-Match: * : every one gets a seq of its own, the last one stands everywhere."""
    one = driver(302)
    person = await one.sign_up()
    answers = await one.race(person, 20)
    assert sorted(a["seq"] for a in answers) == list(range(2, 22))
    last = max(answers, key=lambda a: a["seq"])
    person.name, person.seq = last["name"], 21
    expected.changes |= {a["change_id"]: (person.ref, a["seq"]) for a in answers}
    assert await oracle.settled(expected) == []
    for affiliate, dsn in system.described()["databases"]["affiliates"].items():
        if affiliate in person.holders():
            connection = await asyncpg.connect(dsn)
            assert await connection.fetchval("SELECT name FROM member WHERE member_ref = $1", person.ref) == person.name
            await connection.close()

"""Records into the log: once each, in order, sealed, and never silently dropped."""

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import FACTS, RECEIPTS
from services.audit import sweep, verify
from services.audit.agents import Parts
from services.audit.handlers import DUPLICATES
from services.runtime import kafka
from tests.integration.audit import records
from tests.integration.audit.conftest import until, writing

COUNT = "SELECT count(*) FROM entry"
SEALED = "SELECT coalesce(max(size), 0) FROM sealed_published"


async def _receipts(parts: Parts) -> list[dict[str, object]]:
    """Every receipt now on the topic."""
    consumer = kafka.consumer(parts.settings)
    await consumer.start()
    try:
        topic = parts.settings.topic_prefix + RECEIPTS
        consumer.subscribe([topic])
        found: list[dict[str, object]] = []
        for _ in range(10):
            for batch in (await consumer.getmany(timeout_ms=300)).values():
                found += [json.loads(record.value) for record in batch]
        return found
    finally:
        await consumer.stop()


async def test_facts_and_receipts_become_entries_and_facts_are_sealed(parts: Parts, producer: AIOKafkaProducer) -> None:
    prefix = parts.settings.topic_prefix
    facts = [records.a_fact(records.a_member(), 1, recipients=("tmax-os",)) for _ in range(7)]
    for fact in facts:
        await records.send(producer, prefix, fact)
        await records.send(producer, prefix, records.an_answer(fact, "tmax-os"))
    async with writing(parts):
        await until(parts.pool, COUNT, 14)
        await until(parts.pool, SEALED, 14)
        await asyncio.sleep(0.5)
    assert await parts.pool.fetchval(COUNT) == 14  # the sealed receipts are not leaves
    seals = [r for r in await _receipts(parts) if r["stage"] == "sealed"]
    index = dict(await parts.pool.fetch("SELECT change_id, index FROM entry WHERE stage IS NULL"))
    assert {s["change_id"]: s["leaf_index"] for s in seals} == index
    assert {s["change_id"] for s in seals} == {fact.change_id for fact in facts}


async def test_a_leaf_says_what_was_said_and_where_it_stood(parts: Parts, producer: AIOKafkaProducer) -> None:
    fact = records.a_fact(records.a_member(), 3)
    event_id = await records.send(producer, parts.settings.topic_prefix, fact)
    async with writing(parts):
        await until(parts.pool, COUNT, 1)
    row = await parts.pool.fetchrow("SELECT * FROM entry")
    body = json.loads(row["body"])
    assert body["data"]["change_id"] == fact.change_id
    assert body["envelope"]["id"] == event_id
    assert body["envelope"]["sequence"] == 3
    assert body["source"]["topic"] == parts.settings.topic_prefix + FACTS
    assert row["body"] == json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


@pytest.mark.f(28)
async def test_each_record_is_one_entry_however_often_it_is_sent(parts: Parts, producer: AIOKafkaProducer) -> None:
    prefix = parts.settings.topic_prefix
    fact = records.a_fact(records.a_member(), 1)
    event_id = await records.send(producer, prefix, fact)
    await records.send(producer, prefix, fact, event_id)
    async with writing(parts):
        await until(parts.pool, COUNT, 1)
        await records.send(producer, prefix, fact, event_id)
        await records.send(producer, prefix, records.a_fact(records.a_member(), 1))
        await until(parts.pool, COUNT, 2)
    assert await parts.pool.fetchval("SELECT count(*) FROM entry WHERE event_id = $1", event_id) == 1


async def test_what_cannot_be_decoded_is_an_entry_without_its_value(parts: Parts, producer: AIOKafkaProducer) -> None:
    topic = parts.settings.topic_prefix + FACTS
    good = records.a_fact(records.a_member(), 1)
    envelope = records.envelope_of(good)
    headers = [(k, v.encode()) for k, v in records.to_headers(envelope).items()]
    await producer.send_and_wait(topic, value=b"secret@example.kr", headers=headers)
    await producer.send_and_wait(topic, value=b"{}", headers=[])
    await producer.send_and_wait(topic, key=b"k", value=None, headers=headers)
    reused = str(uuid.uuid4())
    await records.send(producer, parts.settings.topic_prefix, good, reused)
    other = good.model_copy(update={"seq": 2})
    async with writing(parts):
        await until(parts.pool, COUNT, 4)
        await records.send(producer, parts.settings.topic_prefix, other, reused)
        await until(parts.pool, COUNT, 5)
    rows = await parts.pool.fetch("SELECT body FROM entry WHERE type LIKE '%.undecodable.%'")
    found = [json.loads(row["body"]) for row in rows]
    assert len(found) == 4
    assert "event_id_reused" in {body["data"]["reason"] for body in found}
    assert "bad_headers" in {body["data"]["reason"] for body in found}
    assert all(body["source"]["topic"] == topic for body in found)
    assert not any(b"secret" in row["body"] for row in rows)


async def test_a_fact_among_the_receipts_is_an_entry_and_no_fact(parts: Parts, producer: AIOKafkaProducer) -> None:
    """Found in review: every propagator may write receipts, and ACLs know topics, not contents."""
    forged = records.a_fact(records.a_member(), 1, recipients=("tmax-os",))
    envelope = records.envelope_of(forged)
    headers = [(name, text.encode()) for name, text in records.to_headers(envelope).items()]
    topic = parts.settings.topic_prefix + RECEIPTS
    await producer.send_and_wait(topic, value=records.encoded(forged, envelope), headers=headers)
    async with writing(parts):
        await until(parts.pool, COUNT, 1)
    row = await parts.pool.fetchrow("SELECT body, member_ref, change_id FROM entry")
    assert json.loads(row["body"])["data"]["reason"] == "unexpected_type"
    assert (row["member_ref"], row["change_id"]) == (None, None)
    assert await parts.pool.fetchval("SELECT count(*) FROM owed") == 0


async def test_a_receipt_made_once_more_is_a_duplicate_and_one_that_says_something_else_is_told_of(
    parts: Parts, producer: AIOKafkaProducer
) -> None:
    """A store put back from a backup answers again under the same id, at another instant."""
    prefix, reused = parts.settings.topic_prefix, str(uuid.uuid4())
    first = records.an_answer(records.a_fact(records.a_member(), 1), "tmax-os")
    later = [first.model_copy(update={"at": records.AT + timedelta(days=n)}) for n in (1, 2)]
    before = DUPLICATES._value.get()
    await records.send(producer, prefix, first, reused)
    await records.send(producer, prefix, later[0], reused)
    async with writing(parts):
        await until(parts.pool, COUNT, 1)
        await records.send(producer, prefix, later[1], reused)
        await records.send(producer, prefix, later[1].model_copy(update={"stage": "superseded"}), reused)
        await records.send(producer, prefix, first.model_copy(update={"at": records.AT - timedelta(days=1)}), reused)
        await until(parts.pool, COUNT, 3)
    rows = await parts.pool.fetch("SELECT body FROM entry WHERE type LIKE '%.undecodable.%'")
    assert [json.loads(row["body"])["data"]["reason"] for row in rows] == ["event_id_reused"] * 2
    assert DUPLICATES._value.get() - before == 2


async def test_a_checkpoint_is_kept_outside_the_database(parts: Parts, producer: AIOKafkaProducer) -> None:
    await records.send(producer, parts.settings.topic_prefix, records.a_fact(records.a_member(), 1))
    async with writing(parts):
        await until(parts.pool, "SELECT max(size) FROM checkpoint", 1)
    folder = parts.settings.data_dir / "checkpoints"
    note = await parts.pool.fetchval("SELECT note FROM checkpoint")
    assert (folder / "latest.txt").read_text() == (folder / "1.txt").read_text() == note
    vkey = (parts.settings.data_dir / "audit.vkey").read_text()
    assert verify.Verifier.parse(vkey) == parts.notary.verifier


async def test_only_one_writer_leads_and_the_other_takes_over(parts: Parts, producer: AIOKafkaProducer) -> None:
    prefix = parts.settings.topic_prefix
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
    locks += "(SELECT oid FROM pg_database WHERE datname = current_database())"
    async with writing(parts):
        async with writing(parts):
            await until(parts.pool, locks, 1)
            await records.send(producer, prefix, records.a_fact(records.a_member(), 1))
            await until(parts.pool, COUNT, 1)
        await records.send(producer, prefix, records.a_fact(records.a_member(), 1))
        await until(parts.pool, COUNT, 2)
        await until(parts.pool, locks, 1)


async def test_a_writer_whose_connection_is_cut_goes_on_without_a_hole(
    parts: Parts, producer: AIOKafkaProducer, owner: asyncpg.Connection
) -> None:
    prefix = parts.settings.topic_prefix
    member = records.a_member()
    async with writing(parts):
        for seq in range(1, 121):
            await records.send(producer, prefix, records.a_fact(member, seq))
            if seq % 40 == 0:
                await _cut_writer(parts.pool)
        await until(parts.pool, COUNT, 120)
    rows = await parts.pool.fetch("SELECT index, seq FROM entry ORDER BY index")
    assert [(r["index"], r["seq"]) for r in rows] == [(n, n + 1) for n in range(120)]


async def _cut_writer(pool: asyncpg.Pool) -> None:
    await pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'dongui-audit-writer' AND datname = current_database()"
    )


async def test_a_missing_answer_is_overdue_until_it_comes(parts: Parts, producer: AIOKafkaProducer) -> None:
    prefix = parts.settings.topic_prefix
    fact = records.a_fact(records.a_member(), 1, recipients=("tmax-os", "tmax-anc"))
    await records.send(producer, prefix, fact)
    await records.send(producer, prefix, records.an_answer(fact, "tmax-anc"))
    async with writing(parts):
        await until(parts.pool, COUNT, 2)
        soon = records.AT + timedelta(minutes=14)
        late = records.AT + timedelta(minutes=16)
        assert await sweep.overdue(parts.pool, soon) == []
        found = await sweep.overdue(parts.pool, late)
        assert [(o.change_id, o.recipient) for o in found] == [(fact.change_id, "tmax-os")]
        assert found[0].due_at == datetime(2026, 11, 24, 3, 15, tzinfo=UTC)
        await records.send(producer, prefix, records.an_answer(fact, "tmax-os"))
        await until(parts.pool, COUNT, 3)
        assert await sweep.overdue(parts.pool, late) == []


FORBIDDEN = [
    "UPDATE entry SET type = 'x'",
    "DELETE FROM entry",
    "TRUNCATE entry",
    "UPDATE node SET hash = hash",
    "DELETE FROM checkpoint",
    "UPDATE consumer_offset SET next_offset = 0",
    "DELETE FROM answered",
    "DELETE FROM waiting",
    "INSERT INTO waiting SELECT * FROM owed",
    "ALTER TABLE owed DISABLE TRIGGER ALL",
    "DELETE FROM consumer_offset",
    "DELETE FROM access",
    "UPDATE access SET reason = NULL",
    "UPDATE facet SET type = 'x'",
    "DELETE FROM anchored",
    "UPDATE slice SET min_at = now()",
    "DELETE FROM verification",
    "ALTER TABLE entry ADD COLUMN x int",
    "ALTER TABLE entry DISABLE TRIGGER ALL",
    "DROP TABLE entry",
    "CREATE TABLE public.mine (x int)",
    "COPY entry FROM PROGRAM 'true'",
    "COPY entry TO '/tmp/x'",
    "SET session_replication_role = replica",
]


@pytest.mark.f(26)
async def test_the_process_role_may_only_insert_and_select(databases: Any) -> None:
    connection = await asyncpg.connect(databases.dsn("audit"))
    for statement in FORBIDDEN:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()

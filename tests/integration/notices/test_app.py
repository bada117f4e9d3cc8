"""The whole notices process on a real Kafka and a real PostgreSQL: from the topic to the receipt."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from prometheus_client import generate_latest

from schemas.topics import NOTICES, RECEIPTS
from services.devstack.ports import free_ports
from services.propagator.notices import app
from services.propagator.notices.ingest import INGESTED
from services.runtime import kafka, postgres
from services.runtime.settings import MissingSettingsError, Settings
from tests.integration.notices.conftest import (
    PARTNER,
    SECRET,
    KeyService,
    Sealed,
    ThirdParty,
    called_back,
    publish,
    ready,
    receipts_on,
    records_on,
    sealed_notice,
    until,
    working,
)
from tests.support.servers import REPOSITORY

pytestmark = pytest.mark.long

STATE = "SELECT state FROM notice"


@pytest.fixture
def settings(settings: Settings, topic_prefix: str) -> Settings:
    """With topics: here records come from Kafka, and receipts go there."""
    return settings.model_copy(update={"topic_prefix": topic_prefix})


COUNT = "SELECT count(*) FROM notice WHERE state = $1"


async def test_one_notice_per_change_and_recipient_however_often_the_topic_is_read(
    settings: Settings, partner: ThirdParty, key_service: KeyService, producer: AIOKafkaProducer
) -> None:
    """Doubled records, a restart, and a replay of the topic from offset 0."""
    many = [sealed_notice(key_service) for _ in range(12)]
    await publish(producer, settings, *many, *many[:5])
    async with working(settings) as parts:
        await until(parts.pool, COUNT, 12, "acknowledged")
        await until(parts.pool, "SELECT count(*) FROM outbox WHERE published_at IS NOT NULL", 12)
    await _rewind(settings)
    duplicates = INGESTED.labels("duplicate")._value.get()
    async with working(settings) as parts:
        await publish(producer, settings, many[0])
        last = sealed_notice(key_service)
        await publish(producer, settings, last)
        await until(parts.pool, COUNT, 13, "acknowledged")
        async with asyncio.timeout(20):
            while INGESTED.labels("duplicate")._value.get() < duplicates + 18:
                await asyncio.sleep(0.05)
        await until(parts.pool, "SELECT count(*) FROM outbox WHERE published_at IS NOT NULL", 13)
    told = await partner.until(13)
    assert sorted(t["webhook_id"] for t in told) == sorted(m.notice.notice_id for m in [*many, last])
    receipts = await receipts_on(settings)
    assert sorted(r["change_id"] for r in receipts) == sorted(m.notice.change_id for m in [*many, last])


async def _rewind(settings: Settings) -> None:
    """Set the committed offsets of the process, which is not running, to 0: everything is read again."""
    group = kafka.consumer(settings, group_id=f"{settings.topic_prefix}dongui-notices")
    await group.start()
    try:
        topic = settings.topic_prefix + NOTICES
        partitions = [TopicPartition(topic, n) for n in range(8)]
        group.assign(partitions)
        assert any([await group.committed(tp) for tp in partitions])
        await group.commit(dict.fromkeys(partitions, 0))
    finally:
        await group.stop()


async def test_an_acknowledgement_by_callback_ends_the_asking_without_a_second_receipt(
    settings: Settings, partner: ThirdParty, key_service: KeyService, producer: AIOKafkaProducer
) -> None:
    await partner.behave({"status": 202, "answer": None})
    one = sealed_notice(key_service)
    await publish(producer, settings, one)
    async with working(settings) as parts:
        await until(parts.pool, STATE, "delivered")
        await _call_back(producer, settings, one)
        await until(parts.pool, STATE, "acknowledged")
        row = await parts.pool.fetchrow("SELECT outcome, reason, lease FROM notice")
        assert dict(row) == {"outcome": "not_held", "reason": "deleted_before", "lease": None}
        await parts.pool.execute("UPDATE notice SET due_at = now()")
        await asyncio.sleep(1)
        assert await parts.pool.fetchval("SELECT count(*) FROM outbox") == 0
    await partner.until(1)


async def test_a_callback_that_came_before_its_notice_leaves_nothing_to_send(
    settings: Settings, partner: ThirdParty, key_service: KeyService, producer: AIOKafkaProducer
) -> None:
    """A third party that pulled the notice from the consent service may answer before we have read it."""
    one = sealed_notice(key_service)
    await _call_back(producer, settings, one)
    async with working(settings) as parts:
        await until(parts.pool, "SELECT count(*) FROM answer", 1)
        await publish(producer, settings, one)
        await until(parts.pool, STATE, "acknowledged")
    assert await partner.received() == []


async def _call_back(producer: AIOKafkaProducer, settings: Settings, one: Sealed) -> None:
    """Put the receipt on its topic that the consent service makes of a third party's callback."""
    record = called_back(one)
    topic = settings.topic_prefix + RECEIPTS
    await producer.send_and_wait(topic, value=record.value, key=record.key, headers=list(record.headers))


async def test_what_cannot_be_read_becomes_a_dead_letter_once_and_its_neighbours_are_told(
    settings: Settings, partner: ThirdParty, key_service: KeyService, producer: AIOKafkaProducer
) -> None:
    topic = settings.topic_prefix + NOTICES
    before, after, broken = (sealed_notice(key_service) for _ in range(3))
    of_another = [(n, b"urn:dongui:notice:v9" if n == "ce_dataschema" else v) for n, v in broken.headers]
    poison: list[tuple[Any, Any, Any]] = [
        (None, b"not a notice", []),
        (b"\xff\x00", b"{}", [("ce_id", b"\xff\x00"), ("x\x00y", b"z")]),
        (b"k", None, broken.headers),
        (b"k", broken.value, of_another),
        (b"k", broken.value[:-4] + b"!!!!", broken.headers),
        (b"k", sealed_notice(key_service).value, broken.headers),
        (b"k", broken.value + b"A" * 70_000, broken.headers),
    ]
    await publish(producer, settings, before)
    for key, value, headers in poison:
        await producer.send_and_wait(topic, value=value, key=key, headers=headers, partition=0)
    await publish(producer, settings, after)
    async with working(settings) as parts:
        await until(parts.pool, COUNT, 2, "acknowledged")
        await until(parts.pool, "SELECT count(*) FROM outbox WHERE published_at IS NOT NULL", 10)
    await _rewind(settings)
    refused_before = INGESTED.labels("refused")._value.get()
    async with working(settings) as parts:
        await publish(producer, settings, sealed_notice(key_service))
        await until(parts.pool, COUNT, 3, "acknowledged")
        async with asyncio.timeout(20):
            while INGESTED.labels("refused")._value.get() < refused_before + 7:
                await asyncio.sleep(0.05)
        await until(parts.pool, "SELECT count(*) FROM outbox WHERE published_at IS NOT NULL", 11)
    letters = await records_on(settings, f"{NOTICES}.dlq")
    codes = sorted(headers["dongui-error"] for headers, _ in letters)
    assert codes == sorted(
        [
            "bad_headers",
            "bad_headers",
            "null_value",
            "unknown_schema",
            "bad_jwe",
            "header_mismatch",
            "too_large",
        ]
    )
    refused = [r for r in await receipts_on(settings) if r["stage"] == "refused"]
    assert [(r["change_id"], r["recipient"]) for r in refused] == [(broken.notice.change_id, PARTNER)]
    await partner.until(3)


@pytest.mark.f(22)
async def test_kill_9_between_the_post_and_the_record_of_it_sends_the_same_id_again(
    settings: Settings, partner: ThirdParty, key_service: KeyService, producer: AIOKafkaProducer
) -> None:
    await partner.behave({"delay_s": 60.0, "times": 1})
    one = sealed_notice(key_service)
    await publish(producer, settings, one)
    async with _process(settings) as first:
        await partner.until(1, timeout_s=60)
        first.kill()
        await first.wait()
    pool = await postgres.open_pool(settings.secret("notices_dsn"), size=1)
    try:
        assert await pool.fetchval("SELECT count(*) FROM attempt") == 0
        assert await pool.fetchval("SELECT leased_until > now() FROM notice")
        # What one minute does. The dead process can no longer write.
        await pool.execute("UPDATE notice SET leased_until = now()")
        async with _process(settings) as second:
            await until(pool, STATE, "acknowledged", timeout_s=60)
            assert second.returncode is None
        assert await pool.fetchval("SELECT count(*) FROM outbox") == 1
    finally:
        await pool.close()
    told = await partner.until(2)
    assert told[0]["webhook_id"] == told[1]["webhook_id"] == one.notice.notice_id
    assert told[0]["message"] == told[1]["message"]


async def test_sigterm_waits_for_the_answer_that_is_on_its_way(
    settings: Settings, partner: ThirdParty, key_service: KeyService, producer: AIOKafkaProducer
) -> None:
    await partner.behave({"delay_s": 2.0, "times": 1})
    port = free_ports(1)[0]
    async with _process(settings, port) as process:
        await ready(partner.client, f"http://127.0.0.1:{port}/readyz", timeout_s=60)
        await publish(producer, settings, sealed_notice(key_service))
        await partner.until(1)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    pool = await postgres.open_pool(settings.secret("notices_dsn"), size=1)
    try:
        assert await pool.fetchval(STATE) == "acknowledged"
    finally:
        await pool.close()


@contextlib.asynccontextmanager
async def _process(settings: Settings, health_port: int = 0) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m services.propagator --notices` with the settings as its environment."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "DONGUI_PROFILE": "dev",
        "DONGUI_KAFKA": str(settings.kafka),
        "DONGUI_TOPIC_PREFIX": settings.topic_prefix,
        "DONGUI_NOTICES_DSN": settings.secret("notices_dsn"),
        "DONGUI_NOTICES_TOKEN": settings.secret("notices_token"),
        "DONGUI_CONSENT_URL": str(settings.consent_url),
        "DONGUI_WEBHOOK_SIGNING_KEY_FILE": str(settings.webhook_signing_key_file),
        "DONGUI_THIRD_PARTIES": json.dumps(settings.third_parties),
        "DONGUI_DATA_DIR": str(settings.data_dir),
        "DONGUI_HEALTH_PORT": str(health_port),
    }
    command = [sys.executable, "-m", "services.propagator", "--notices"]
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, env=environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_slow_third_party_keeps_no_other_waiting(
    settings: Settings, partner: ThirdParty, key_service: KeyService, producer: AIOKafkaProducer
) -> None:
    """Two endpoints: one answers nothing for a while, the other is told at once."""
    stuck = [sealed_notice(key_service) for _ in range(8)]
    quick = sealed_notice(key_service, recipient="quick-partner")
    async with _silent() as url:
        both = {
            PARTNER: {"url": url, "secret": SECRET},
            "quick-partner": {"url": f"{partner.url}/webhook", "secret": SECRET},
        }
        await publish(producer, settings, *stuck, quick)
        async with working(settings.model_copy(update={"third_parties": both})) as parts:
            await until(parts.pool, f"{STATE} WHERE recipient = 'quick-partner'", "acknowledged", timeout_s=15)
            assert await parts.pool.fetchval(COUNT, "pending") == 8


@contextlib.asynccontextmanager
async def _silent() -> AsyncIterator[str]:
    """A server that takes connections and never answers."""
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/webhook"
    finally:
        for writer in held:
            writer.close()
        server.close()


async def test_nothing_is_lost_while_the_database_is_away(
    settings: Settings, partner: ThirdParty, key_service: KeyService, producer: AIOKafkaProducer, databases: Any
) -> None:
    first, second = sealed_notice(key_service), sealed_notice(key_service)
    async with working(settings) as parts:
        await publish(producer, settings, first)
        await until(parts.pool, COUNT, 1, "acknowledged")
        async with databases.blocked("notices"):
            await publish(producer, settings, second)
            await asyncio.sleep(2)
            assert not (await parts.ready())["postgres"]
        async with asyncio.timeout(75):
            while len(await partner.received()) < 2:
                await asyncio.sleep(0.1)
        await until(parts.pool, COUNT, 2, "acknowledged")
    assert {t["webhook_id"] for t in await partner.until(2)} == {first.notice.notice_id, second.notice.notice_id}


async def test_logs_and_metrics_carry_no_value(
    settings: Settings, partner: ThirdParty, key_service: KeyService, producer: AIOKafkaProducer, capfd: Any
) -> None:
    canary = "canary-7f3a@example.kr"
    await partner.behave({"status": 500, "times": 1}, {"answer": {"outcome": "refused", "reason": canary}})
    await publish(producer, settings, sealed_notice(key_service, email=canary))
    async with working(settings) as parts:
        await until(parts.pool, "SELECT attempts FROM notice", 1)
        await parts.pool.execute("UPDATE notice SET due_at = now()")
        await until(parts.pool, STATE, "acknowledged")
        rows = await parts.pool.fetch("SELECT n::text FROM notice n UNION ALL SELECT a::text FROM attempt a")
        rows += await parts.pool.fetch("SELECT convert_from(payload, 'UTF8') FROM outbox")
    output = capfd.readouterr()
    everything = [output.out, output.err, generate_latest().decode(), *(r[0] for r in rows)]
    assert not any(canary in text for text in everything)
    assert any("refused" in row[0] for row in rows)


async def test_a_missing_setting_is_named_at_start(settings: Settings) -> None:
    bare = settings.model_copy(update={"notices_token": None, "consent_url": None})
    with pytest.raises(MissingSettingsError) as caught:
        async with app.build(bare):
            pass
    assert caught.value.names == ["notices_token", "consent_url"]

"""A dead letter sent again: the record it is about, or the letter's copy of it, and never another's record."""

from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from schemas.topics import affiliate_topic
from services.commands import letters
from services.commands.letters import Letter
from services.runtime import kafka
from services.runtime.settings import Settings

TOPIC = affiliate_topic("tmax-os")


async def test_a_record_that_retention_takes_at_this_moment_is_sent_from_the_letters_copy(
    stack: Any, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(profile="dev", kafka=stack.bootstrap, topic_prefix=topic_prefix)
    place = TopicPartition(topic_prefix + TOPIC, 0)
    producer = await kafka.producer(settings)
    for value in (b"its own", b"another's"):
        await producer.send_and_wait(place.topic, value=value, partition=0)
    await producer.stop()
    admin = AIOKafkaAdminClient(**kafka.client_options(settings))
    await admin.start()
    await admin.delete_records({place: RecordsToDelete(1)})
    await admin.close()

    async def a_moment_ago(_: AIOKafkaConsumer, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    monkeypatch.setattr(AIOKafkaConsumer, "beginning_offsets", a_moment_ago)
    at = datetime(2026, 11, 30, tzinfo=UTC)
    await letters.send_again(settings, Letter("an-id", TOPIC, 0, 0, "bad_json", at, {}, None, b"its own"))
    async with kafka.consuming(settings) as consumer:
        consumer.assign([place])
        consumer.seek(place, 2)
        assert (await consumer.getone(place)).value == b"its own"

"""Messages by the batch: in order, whole, and where the client's own partitioner would have put them."""

import asyncio
import uuid
from collections import defaultdict

import pytest
from aiokafka.errors import KafkaError

from schemas.topics import FACTS, RECEIPTS
from services.runtime import batches, kafka
from services.runtime.batches import Message
from services.runtime.settings import Settings
from tests.integration.consent.harness import read_all

MEMBERS = 9
EACH = 40
VALUE = b"x" * 8_000
"""9 x 40 x 8,000 bytes for each topic: several batches of 256 KiB for a partition."""


async def test_every_message_arrives_once_in_order_whole_and_where_a_single_one_goes(settings: Settings) -> None:
    topics = [settings.topic_prefix + name for name in (FACTS, RECEIPTS)]
    members = [str(uuid.uuid4()).encode() for _ in range(MEMBERS)]
    made = [
        Message(topic, m, b"%d " % n + VALUE, [("n", b"%d" % n)])
        for n in range(EACH)
        for m in members
        for topic in topics
    ]
    producer = await kafka.producer(settings)
    try:
        await batches.publish(producer, made, 30)
        single = [await producer.send_and_wait(topics[0], b"single", key=m) for m in members]
    finally:
        await kafka.close(producer)
    for name in (FACTS, RECEIPTS):
        arrived = defaultdict(list)
        for record in await read_all(settings, name, {}):
            if record.value == b"single":
                continue
            arrived[record.key, record.partition].append(int(record.value.split()[0]))
            assert record.headers == (("n", b"%d" % arrived[record.key, record.partition][-1]),)
            assert record.value.endswith(b" " + VALUE)
        assert dict(arrived) == {(m, s.partition): list(range(EACH)) for m, s in zip(members, single, strict=True)}


async def test_what_the_broker_refuses_raises_and_a_broker_that_is_slow_is_not_waited_for_for_ever(
    settings: Settings,
) -> None:
    topic = settings.topic_prefix + FACTS
    producer = await kafka.producer(settings)
    try:
        with pytest.raises(KafkaError):
            await batches.publish(producer, [Message(topic, b"m", bytes(8 * 1024 * 1024), [])], 30)
        with pytest.raises(asyncio.TimeoutError):
            await batches.publish(producer, [Message(topic, b"m", b"1", [])], 0)
        await batches.publish(producer, [], 0.5)
    finally:
        await kafka.close(producer)

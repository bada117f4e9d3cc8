"""Messages to Kafka by the batch: one acknowledgement for all that go to one partition together.

A message of its own costs the client a coroutine, a future and a place in the queue; that is most of what publishing
an outbox costs. The partition is the one that the client's own partitioner (Java's murmur2) gives a key.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder

KEYS_MAX = 4096
"""Keys whose partition is remembered: one change is a record to each of several topics under one key."""


@dataclass(frozen=True, slots=True)
class Message:
    """What goes to Kafka: full topic name, key, value, headers."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


async def publish(producer: AIOKafkaProducer, messages: Iterable[Message], timeout_s: float) -> None:
    """Send messages, those of one key in order; the broker has all of them when it returns.

    Raises the first error of a batch, or TimeoutError; nothing is known then of what was sent.
    """
    acks: list[Awaitable[object]] = []
    async with asyncio.timeout(timeout_s):
        queues = await _batches(producer, messages)
        for wave in zip_longest(*queues.values()):  # the next of a partition is taken only after the last has left
            for at, batch in zip(queues, wave, strict=True):
                if batch is not None:
                    acks.append(await producer.send_batch(batch, at.topic, partition=at.partition))
        await asyncio.gather(*acks)


async def _batches(producer: AIOKafkaProducer, messages: Iterable[Message]) -> dict[TopicPartition, list[BatchBuilder]]:
    """Return each partition's messages in batches that are as full as the producer's setting allows."""
    found: dict[TopicPartition, list[BatchBuilder]] = {}
    counts: dict[str, int] = {}
    for message in messages:
        if message.topic not in counts:
            counts[message.topic] = len(await producer.partitions_for(message.topic))
        at = TopicPartition(message.topic, _hash(message.key) % counts[message.topic])
        batches = found.setdefault(at, [])
        if not batches or not _fits(batches[-1], message):
            batches.append(producer.create_batch())
            _fits(batches[-1], message)  # the first always does; what is too large the broker refuses
    for batches in found.values():
        batches[-1].close()
    return found


def _fits(batch: BatchBuilder, message: Message) -> bool:
    """Put a message into a batch unless that is full."""
    put = batch.append(timestamp=None, key=message.key, value=message.value, headers=message.headers)
    return put is not None


@lru_cache(maxsize=KEYS_MAX)
def _hash(key: bytes) -> int:
    hashed: int = murmur2(key) & 0x7FFFFFFF
    return hashed

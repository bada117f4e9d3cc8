"""What the commands ask of Kafka itself: is it there, which topics has it, how many dead letters."""

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.topics import DLQ_SUFFIX
from services.runtime import kafka
from services.runtime.settings import Settings


class KafkaUnreachableError(OSError):
    """No broker answered."""


async def topics(settings: Settings) -> dict[str, int]:
    """Return every topic under the prefix, without it, with its partition count. Raises KafkaUnreachableError."""
    try:
        admin = AIOKafkaAdminClient(**kafka.client_options(settings))
        await admin.start()
    except KafkaError as error:
        raise KafkaUnreachableError from error
    try:
        prefix = settings.topic_prefix
        names = [name for name in await admin.list_topics() if name.startswith(prefix)]
        described = await admin.describe_topics(names) if names else []
        return {t["topic"].removeprefix(prefix): len(t["partitions"]) for t in described}
    finally:
        await admin.close()


async def dead_letters(settings: Settings) -> dict[str, int]:
    """Return how many records each dead-letter topic still holds. Raises KafkaUnreachableError."""
    found = {name: count for name, count in (await topics(settings)).items() if name.endswith(DLQ_SUFFIX)}
    consumer = AIOKafkaConsumer(**kafka.client_options(settings), enable_auto_commit=False)
    await consumer.start()
    try:
        return {name: await _depth(consumer, settings.topic_prefix + name, found[name]) for name in sorted(found)}
    finally:
        await consumer.stop()


async def _depth(consumer: AIOKafkaConsumer, topic: str, partitions: int) -> int:
    places = [TopicPartition(topic, number) for number in range(partitions)]
    first, last = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    return sum(last[place] - first[place] for place in places)

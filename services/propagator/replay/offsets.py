"""Where a replay starts and ends on each partition, by what the broker knows: offsets, instants, the live group.

A replay never runs ahead of the live stream: it ends where the affiliate's own group has committed, so that no
record is applied for the first time without its receipt.
"""

from collections.abc import Mapping
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.partitioner import murmur2

from schemas.topics import affiliate_topic
from services.propagator.replay.plan import Range, Selection
from services.runtime import kafka
from services.runtime.settings import Settings


class TopicMissingError(Exception):
    """The affiliate's topic is not there. Create it: `dongui dev up`, or the cluster's topic resources."""


def group_of(settings: Settings, affiliate: str) -> str:
    """Return the consumer group of an affiliate's propagator."""
    return f"{settings.topic_prefix}dongui-propagator-{affiliate}"


async def ranges(
    settings: Settings, consumer: AIOKafkaConsumer, affiliate: str, selection: Selection
) -> tuple[Range, ...]:
    """Return the offsets to read of one affiliate's topic, partition by partition. Raises TopicMissingError."""
    topic = settings.topic_prefix + affiliate_topic(affiliate)
    chosen = None if selection.offsets is None else selection.offsets.get(affiliate, {})
    return await of_topic(settings, consumer, topic, group_of(settings, affiliate), selection, chosen)


async def of_topic(
    settings: Settings,
    consumer: AIOKafkaConsumer,
    topic: str,
    group: str,
    selection: Selection,
    chosen: Mapping[int, int] | None = None,
) -> tuple[Range, ...]:
    """Return the same of any topic (physical name) that a group reads; `chosen` is where to start by partition."""
    count = await _partition_count(settings, topic)
    places = [TopicPartition(topic, p) for p in _wanted(selection, count)]
    firsts = await consumer.beginning_offsets(places)
    committed = await _committed(settings, group, places)
    starts = await _at(consumer, places, selection.since) if selection.since else firsts
    ends = await _at(consumer, places, selection.until) if selection.until else await consumer.end_offsets(places)
    found = []
    for place in places:
        if chosen is not None and place.partition not in chosen:
            continue
        start = max(firsts[place], starts[place], (chosen or {}).get(place.partition, 0))
        end = max(start, min(ends[place], committed.get(place, 0)))
        found.append(Range(partition=place.partition, start=start, end=end, first=firsts[place]))
    return tuple(found)


def _wanted(selection: Selection, count: int) -> list[int]:
    """A member's records are all on the partition of its key."""
    if selection.member is not None:
        return [(murmur2(selection.member.encode()) & 0x7FFFFFFF) % count]
    return [p for p in range(count) if selection.partitions is None or p in selection.partitions]


async def _at(consumer: AIOKafkaConsumer, places: list[TopicPartition], instant: datetime) -> dict[TopicPartition, int]:
    """Return the first offset at or after an instant, the end where there is none."""
    asked = dict.fromkeys(places, int(instant.timestamp() * 1000))
    found, ends = await consumer.offsets_for_times(asked), await consumer.end_offsets(places)
    return {p: found[p].offset if found[p] is not None else ends[p] for p in places}


async def _partition_count(settings: Settings, topic: str) -> int:
    admin = AIOKafkaAdminClient(**kafka.client_options(settings))
    await admin.start()
    try:
        if topic not in await admin.list_topics():
            raise TopicMissingError(topic)
        return len((await admin.describe_topics([topic]))[0]["partitions"])
    finally:
        await admin.close()


async def _committed(settings: Settings, group: str, places: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Return where the group has come to; a partition it never committed is left out. It is asked, not joined."""
    async with kafka.consuming(settings, group_id=group) as asking:
        found = {place: await asking.committed(place) for place in places}
    return {place: offset for place, offset in found.items() if offset is not None}

"""Reads ranges of a topic again, in order and no faster than asked, without any consumer group."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from services.propagator.replay.plan import Range
from services.runtime import kafka
from services.runtime.settings import Settings

BATCH_MAX = 1000
POLL_MS = 500
FETCH_WAIT_MS = 50
STALLED_S = 60.0
Records = Sequence["ConsumerRecord[Any, Any]"]


class SourceLostError(Exception):
    """The broker does not give records it said it had: retention passed over them, or it is away. Plan again."""


@contextlib.asynccontextmanager
async def consuming(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a consumer for one topic: one that was assigned to a topic no longer learns of others."""
    # `none`: an offset that retention passed over is said, and not skipped to where the topic begins now.
    async with kafka.consuming(settings, auto_offset_reset="none", fetch_max_wait_ms=FETCH_WAIT_MS) as consumer:
        yield consumer


async def read(consumer: AIOKafkaConsumer, topic: str, part: Range, rate: int) -> AsyncIterator[tuple[Records, int]]:
    """Yield (records, next offset) of [start, end), at most `rate` records a second. Raises SourceLostError.

    The consumer is one of `consuming`.
    """
    place = TopicPartition(topic, part.partition)
    consumer.assign([place])
    position = part.start
    consumer.seek(place, position)
    pace, heard = _Pace(rate), asyncio.get_running_loop().time()
    while position < part.end:
        found = await _fetched(consumer, place, position)
        now = asyncio.get_running_loop().time()
        if not found and now - heard > STALLED_S:
            raise _lost(place, position)
        if found:
            heard = now
            records = [record for record in found if record.offset < part.end]
            position = min(found[-1].offset + 1, part.end)
            yield records, position
            await pace.after(len(records))


async def _fetched(consumer: AIOKafkaConsumer, place: TopicPartition, position: int) -> Records:
    try:
        fetched = await consumer.getmany(place, timeout_ms=POLL_MS, max_records=BATCH_MAX)
    except OffsetOutOfRangeError as error:
        raise _lost(place, position) from error
    found: Records = fetched.get(place, [])
    return found


def _lost(place: TopicPartition, position: int) -> SourceLostError:
    return SourceLostError(f"{place.topic}/{place.partition} at {position}")


class _Pace:
    """Sleeps so that no more than `rate` a second pass."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._due = asyncio.get_running_loop().time()

    async def after(self, count: int) -> None:
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now - 1) + count / self._rate
        if self._due > now:
            await asyncio.sleep(self._due - now)

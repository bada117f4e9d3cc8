"""Reads ranges of a topic again, in order and no faster than asked, without any consumer group."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
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


async def read(
    consumer: AIOKafkaConsumer, topic: str, ranges: Sequence[Range], rate: int
) -> AsyncIterator[tuple[Records, Mapping[int, int]]]:
    """Yield (records, next offset by partition) of all ranges side by side, at most `rate` records a second.

    What is of one partition comes in order. The consumer is one of `consuming`. Raises SourceLostError.
    """
    unread = {TopicPartition(topic, part.partition): part for part in ranges if part.start < part.end}
    positions = {place: part.start for place, part in unread.items()}
    ends = {place: part.end for place, part in unread.items()}
    consumer.assign(list(positions))
    for place, start in positions.items():
        consumer.seek(place, start)
    pace, heard = _Pace(rate), asyncio.get_running_loop().time()
    while positions:
        found = await _fetched(consumer, list(positions))
        now = asyncio.get_running_loop().time()
        if not found:
            if now - heard > STALLED_S:
                raise _lost(positions)
            continue
        heard = now
        records = [r for place, of_place in found.items() for r in of_place if r.offset < ends[place]]
        passed = {place: min(of_place[-1].offset + 1, ends[place]) for place, of_place in found.items()}
        yield records, {place.partition: position for place, position in passed.items()}
        await pace.after(len(records))
        positions |= passed
        for place in [place for place, position in passed.items() if position == ends[place]]:
            consumer.pause(place)
            del positions[place]


async def _fetched(consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, Records]:
    try:
        found: Mapping[TopicPartition, Records] = await consumer.getmany(
            *places, timeout_ms=POLL_MS, max_records=BATCH_MAX
        )
    except OffsetOutOfRangeError as error:
        raise _lost(error.args[0]) from error
    return found


def _lost(positions: Mapping[TopicPartition, int]) -> SourceLostError:
    return SourceLostError(", ".join(f"{place.topic}/{place.partition} at {at}" for place, at in positions.items()))


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

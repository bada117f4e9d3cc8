"""Dead letters as they lie on their topics: found, described without their content, and sent again where they stood.

A letter is sent again first and noted second: whoever is killed between the two sends it twice, which is a duplicate.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiokafka import ConsumerRecord, TopicPartition

from schemas.topics import DLQ_SUFFIX
from services.commands import brokers
from services.runtime import kafka
from services.runtime.dead_letter import (
    ERROR_HEADER,
    OMITTED_HEADER,
    ORIGIN_HEADER,
    letter_id,
    origin_of,
    written_at,
)
from services.runtime.settings import Settings

REDRIVEN_HEADER: Final = "dongui-redriven"
OURS: Final = frozenset({ERROR_HEADER, ORIGIN_HEADER, OMITTED_HEADER})
POLL_MS: Final = 1000
EPOCH: Final = datetime.fromtimestamp(0, UTC)


class LetterGoneError(Exception):
    """What the letter is about is neither on its topic any more nor whole in the letter."""


@dataclass(frozen=True)
class Letter:
    """One dead letter. `topic` is the logical one it was meant for, `partition` and `offset` where it stood there."""

    letter_id: str
    topic: str
    partition: int
    offset: int
    code: str
    at: datetime
    headers: dict[str, str]
    key: bytes | None
    value: bytes

    @property
    def whole(self) -> bool:
        """Whether the letter holds the value itself."""
        return OMITTED_HEADER not in self.headers

    def described(self) -> dict[str, Any]:
        """Return what may be shown: ids, codes, sizes; of the content the names of its fields."""
        told = {name: text for name, text in self.headers.items() if name.startswith("ce_") or name == "content-type"}
        return {
            "id": self.letter_id,
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "code": self.code,
            "at": self.at.isoformat(),
            "headers": {name: masked(text) for name, text in told.items()},
            "bytes": len(self.value) if self.whole else int(self.headers[OMITTED_HEADER]),
            "sha256": hashlib.sha256(self.value).hexdigest() if self.whole else None,
            "fields": _fields(self.value),
        }


def masked(text: str) -> str:
    """Return a header as it may be shown: what has the form of an id, an instant or a code; else only its length."""
    plain = all(c.isalnum() or c in "-_:./+" for c in text) and text.isascii()
    return text if plain else f"({len(text)} characters)"


def _fields(value: bytes) -> dict[str, str] | None:
    """Return the names of a clear body's fields with the kinds of their values; None for a sealed or broken one."""
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return {masked(name): type(found).__name__ for name, found in body.items()} if isinstance(body, dict) else None


async def all_letters(settings: Settings) -> list[Letter]:
    """Return every letter on every dead-letter topic, in order of topic and place. Raises KafkaUnreachableError."""
    found: list[Letter] = []
    for name, count in sorted((await brokers.topics(settings)).items()):
        if name.endswith(DLQ_SUFFIX):
            found += [_letter(record) for record in await _whole(settings, name, count)]
    return found


async def _whole(settings: Settings, topic: str, partitions: int) -> list["ConsumerRecord[Any, Any]"]:
    places = [TopicPartition(settings.topic_prefix + topic, p) for p in range(partitions)]
    async with kafka.consuming(settings) as consumer:
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        found: list[ConsumerRecord[Any, Any]] = []
        while any([await consumer.position(p) < ends[p] for p in places]):
            for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                found += records
        return found


def _letter(record: "ConsumerRecord[Any, Any]") -> Letter:
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    origin = origin_of(record)
    topic, partition, offset = origin.rsplit("/", 2)
    return Letter(
        letter_id=letter_id(origin),
        topic=topic,
        partition=int(partition),
        offset=int(offset),
        code=headers.get(ERROR_HEADER, "unknown"),
        at=written_at(record, EPOCH),
        headers=headers,
        key=record.key,
        value=record.value or b"",
    )


async def send_again(settings: Settings, letter: Letter) -> None:
    """Put the record back on its topic and partition, as it stood there. Raises LetterGoneError."""
    original = await _original(settings, letter)
    if original is None and not letter.whole:
        raise LetterGoneError(letter.letter_id)
    if original is None:
        key, value = letter.key, letter.value or None
        headers = [(n, t.encode()) for n, t in letter.headers.items() if n not in OURS]
    else:
        key, value, headers = original.key, original.value, list(original.headers)
    kept = [(n, v) for n, v in headers if n != REDRIVEN_HEADER]
    producer = await kafka.producer(settings)
    try:
        await producer.send_and_wait(
            settings.topic_prefix + letter.topic,
            key=key,
            value=value,
            headers=[*kept, (REDRIVEN_HEADER, letter.letter_id.encode())],
            partition=letter.partition,
        )
    finally:
        await producer.stop()


async def _original(settings: Settings, letter: Letter) -> "ConsumerRecord[Any, Any] | None":
    """Return the record itself while its topic still has it: a letter may have had to leave things out."""
    place = TopicPartition(settings.topic_prefix + letter.topic, letter.partition)
    async with kafka.consuming(settings) as consumer:
        first, end = await consumer.beginning_offsets([place]), await consumer.end_offsets([place])
        if not first[place] <= letter.offset < end[place]:
            return None
        consumer.assign([place])
        consumer.seek(place, letter.offset)
        record: ConsumerRecord[Any, Any] = await consumer.getone(place)
        # Retention may have passed over it since: the consumer then stands at the first that is left, another's.
        return record if record.offset == letter.offset else None

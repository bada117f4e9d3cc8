"""The transactional outbox: `append` takes the caller's transaction, a relay publishes after the commit.

Column names are Debezium's Event Router defaults, so that Debezium could replace our relay.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

from services.runtime.postgres import Connection

SHARDS = 16
"""Shards a table is divided into for ever; a relay leases some of them. Not the number of relays."""

_APPEND = """
INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, headers, shard)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::jsonb[], $7::int[])
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record to be: logical topic (no prefix), key, body bytes and CloudEvents headers.

    `id` is the event id (`ce_id`); the same record re-sent keeps it.
    """

    id: str
    topic: str
    key: str
    type: str
    payload: bytes
    headers: dict[str, str] = field(default_factory=dict)


def shard_of(key: str) -> int:
    """Return the shard of a key: all records of one member share one, so one relay sends them in order."""
    return crc32(key.encode()) % SHARDS


async def append(tx: Connection, records: Sequence[Record]) -> None:
    """Insert records into the outbox of the caller's transaction, in the order given."""
    if records:
        await tx.execute(_APPEND, *columns(records))


def columns(records: Sequence[Record]) -> tuple[list[object], ...]:
    """Return records as the seven arrays that make rows of an outbox: id, topic, key, type, payload, headers, shard."""
    return (
        [r.id for r in records],
        [r.topic for r in records],
        [r.key for r in records],
        [r.type for r in records],
        [r.payload for r in records],
        [r.headers for r in records],
        [shard_of(r.key) for r in records],
    )

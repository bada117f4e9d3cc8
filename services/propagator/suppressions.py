"""The store's copy of `dongui.suppressions.v1`: read to the end before anything is applied, then followed.

A restored store may hold members who were erased since: their rows go with the suppression.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import structlog
from aiokafka import ConsumerRecord

from schemas import codec
from schemas.envelope import from_headers
from schemas.errors import CodecError
from schemas.events import Suppression
from services.propagator import store

log = structlog.get_logger("suppressions")


async def suppress(tx: asyncpg.Connection, batch: Sequence["ConsumerRecord[Any, Any]"]) -> None:
    """Apply a batch of the suppressions topic in the caller's transaction; again, it changes nothing."""
    members: dict[str, datetime] = {}
    for record in batch:
        found = _suppression(record)
        if found is not None:
            members.setdefault(found.member_ref, found.at)
    if members:
        await store.suppress(tx, members)


def _suppression(record: "ConsumerRecord[Any, Any]") -> Suppression | None:
    try:
        shape = codec.decode_clear(from_headers(record.headers), record.value)
    except CodecError as error:
        log.error("suppression_undecodable", code=error.code, partition=record.partition, offset=record.offset)
        return None
    return shape if isinstance(shape, Suppression) else None

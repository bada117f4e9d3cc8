"""Answers that come by another way: a callback at the consent service is a receipt, and ends our asking."""

from collections.abc import Sequence
from typing import Any

from aiokafka import ConsumerRecord

from schemas import codec
from schemas.codec import CodecError
from schemas.envelope import from_headers
from schemas.receipts import Receipt
from services.propagator.notices import endings, store
from services.propagator.notices.store import Answer
from services.runtime.postgres import Connection


async def record(tx: Connection, batch: Sequence["ConsumerRecord[Any, Any]"]) -> None:
    """Apply a batch of the receipts topic in the caller's transaction; the same batch again changes nothing."""
    found = [a for a in map(_answer, batch) if a is not None]
    if found:
        for position, end in await store.answered(tx, found):
            await endings.of_overtaken(tx, position, end)


def _answer(found: "ConsumerRecord[Any, Any]") -> Answer | None:
    """What ends a notice: an outcome, or the member's erasure. A `refused` without outcome is our own dead letter."""
    try:
        shape = codec.decode_clear(from_headers(found.headers), found.value)
    except CodecError:
        return None  # the audit log keeps every undecodable receipt; here it can answer nothing
    if not isinstance(shape, Receipt) or shape.kind != "third_party":
        return None
    if shape.outcome is None and shape.stage != "skipped_destroyed":
        return None
    return Answer(shape.change_id, shape.recipient, shape.stage, shape.outcome, shape.reason, shape.at)

"""Receipts come back: each answer goes into `delivery`, the ledger and the notice register; a seal into `change`."""

from collections.abc import Sequence
from typing import Any

import structlog
from aiokafka import ConsumerRecord

from schemas import codec
from schemas.codec import CodecError
from schemas.envelope import from_headers
from schemas.receipts import Receipt
from services.consent import retained
from services.consent.corrections import answers as corrections
from services.consent.store import SQL
from services.runtime.postgres import Connection

log = structlog.get_logger("receipts")


async def record(tx: Connection, batch: Sequence[ConsumerRecord[Any, Any]]) -> None:
    """Apply a batch of the receipts topic in the caller's transaction; the same batch again changes nothing."""
    receipts = [r for r in map(_receipt, batch) if r is not None]
    seals = [r for r in receipts if r.stage == "sealed"]
    await retained.answered(tx, [r for r in receipts if r.kind == "retention"])
    answers = _last_per_delivery([r for r in receipts if r.stage != "sealed" and r.kind != "retention"])
    if seals:
        await tx.execute(
            SQL["record_seals"],
            [r.change_id for r in seals],
            [r.at for r in seals],
            [r.leaf_index for r in seals],
        )
    await corrections.record(tx, answers, "answer")


def _receipt(found: ConsumerRecord[Any, Any]) -> Receipt | None:
    try:
        shape = codec.decode_clear(from_headers(found.headers), found.value)
    except CodecError as error:
        # The audit log keeps a record of every undecodable receipt; here it can answer nothing.
        log.warning("receipt_undecodable", code=error.code, partition=found.partition, offset=found.offset)
        return None
    return shape if isinstance(shape, Receipt) else None


def _last_per_delivery(receipts: list[Receipt]) -> list[Receipt]:
    """One row per delivery and statement: `refused` gives way to what a redrive brought, `manual` to an answer."""
    last: dict[tuple[str, str], Receipt] = {}
    for receipt in receipts:
        present = last.get((receipt.change_id, receipt.recipient))
        if present is None or (present.stage in {"refused", "manual"} and receipt.stage != "manual"):
            last[receipt.change_id, receipt.recipient] = receipt
    return list(last.values())

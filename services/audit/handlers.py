"""What is done with a batch of records: each becomes one leaf, once, in the caller's transaction."""

import collections
from collections.abc import Sequence
from typing import Any

import asyncpg
import structlog
from aiokafka import ConsumerRecord
from prometheus_client import Counter, Gauge

from services.audit import store
from services.audit.leaf import UNDECODABLE_TYPE, Leaf, is_made_again, of_access, of_record, undecodable
from services.audit.tree import Frontier

APPENDED = Counter("dongui_audit_appended", "Leaves handed to the database", ["type"])
DUPLICATES = Counter("dongui_audit_duplicates", "Records that were in the log already")
SIZE = Gauge("dongui_audit_size", "Leaves in the log, as the writer knows it")

ACCESSES_MAX = 500
log = structlog.get_logger("audit")
Pair = tuple["ConsumerRecord[Any, Any]", Leaf]


class Writer:
    """Appends batches. One per lease: it remembers the frontier, and reads it again after a rollback."""

    def __init__(self) -> None:
        self._frontier: Frontier | None = None

    async def append(self, tx: asyncpg.Connection, batch: "Sequence[ConsumerRecord[Any, Any]]") -> None:
        """Append what is new of a batch. The same batch again appends nothing."""
        await self._append(tx, await _fresh(tx, batch))

    async def append_accesses(self, tx: asyncpg.Connection, after: int) -> int | None:
        """Append who looked at the log since this position of `access`; return the last one, None when nobody did."""
        rows = await tx.fetch(store.SQL["list_accesses"], after, ACCESSES_MAX)
        if not rows:
            return None
        leaves = [of_access(dict(row)) for row in rows]
        seen = await store.known(tx, [leaf.event_id for leaf in leaves])
        await self._append(tx, [leaf for leaf in leaves if leaf.event_id not in seen])
        return int(rows[-1]["position"])

    async def _append(self, tx: asyncpg.Connection, leaves: Sequence[Leaf]) -> None:
        if not leaves:
            return
        frontier = await self._current(tx)
        await store.append(tx, frontier, leaves)
        SIZE.set(frontier.size)
        for label, count in collections.Counter(map(_label, leaves)).items():
            APPENDED.labels(label).inc(count)

    async def _current(self, tx: asyncpg.Connection) -> Frontier:
        stored = await store.size(tx)
        if self._frontier is None or self._frontier.size != stored:
            self._frontier = await store.frontier(tx)
        return self._frontier


def _label(leaf: Leaf) -> str:
    return leaf.type if leaf.type == UNDECODABLE_TYPE else leaf.stage or leaf.type


async def _fresh(tx: asyncpg.Connection, batch: "Sequence[ConsumerRecord[Any, Any]]") -> list[Leaf]:
    """Return the leaves that are not in the log. A re-used event id with other content is a leaf too.

    But not a receipt that was made once more: it says nothing new.
    """
    pairs = [(record, leaf) for record in batch if (leaf := of_record(record)) is not None]
    new, conflicts = _divide(pairs, await store.known(tx, [leaf.event_id for _, leaf in pairs]))
    if conflicts := await _contradicting(tx, new, conflicts):
        told = [(record, undecodable(record, "event_id_reused")) for record, _ in conflicts]
        fresh, _ = _divide(told, await store.known(tx, [leaf.event_id for _, leaf in told]))
        new += fresh
    DUPLICATES.inc(len(pairs) - len(new))
    return [leaf for _, leaf in new]


async def _contradicting(tx: asyncpg.Connection, new: list[Pair], conflicts: list[Pair]) -> list[Pair]:
    """Return those that say something else than what stands under their id, in the log or earlier in the batch."""
    if not conflicts:
        return []
    said = await store.said(tx, [leaf.event_id for _, leaf in conflicts])
    said |= {leaf.event_id: (leaf.at, leaf.body) for _, leaf in new}
    left = [(record, leaf) for record, leaf in conflicts if not is_made_again(leaf, *said[leaf.event_id])]
    if len(left) < len(conflicts):
        log.info("receipts_made_again", receipts=len(conflicts) - len(left))
    return left


def _divide(pairs: list[Pair], seen: dict[str, bytes]) -> tuple[list[Pair], list[Pair]]:
    """Return (pairs with an unseen event id, pairs whose id was seen with other content)."""
    new: list[Pair] = []
    conflicts: list[Pair] = []
    for record, leaf in pairs:
        if leaf.event_id not in seen:
            seen[leaf.event_id] = leaf.content_hash
            new.append((record, leaf))
        elif seen[leaf.event_id] != leaf.content_hash:
            conflicts.append((record, leaf))
    return new, conflicts

"""The log's SQL, by named query: append leaves with their subtrees, read nodes, entries and checkpoints.

Nothing here commits: the caller's transaction is the first argument. Nothing here updates or deletes:
the role may not. Who waits for an answer is kept beside it by triggers of the database's owner.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from services.audit import tree
from services.audit.leaf import Leaf
from services.audit.tree import Coordinate, Frontier, Range
from services.runtime.queries import Queries

SQL = Queries("services.audit")
Database = asyncpg.Pool | asyncpg.Connection | PoolConnectionProxy
"""What a statement runs on: a transaction's connection, or the pool when one statement is enough."""
SLICE = 1024
"""Entries of which the first and last instant are kept together (table `slice`)."""


class MissingNodeError(Exception):
    """A subtree the tree's size calls for is not stored: the log was tampered with. Run `audit verify`."""


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint as stored: tree size, root, signed note, instant of signing."""

    size: int
    root: bytes
    note: str
    at: datetime


async def size(tx: Database) -> int:
    """Return the number of leaves."""
    return int(await tx.fetchval(SQL["size"]))


async def known(tx: Database, event_ids: Iterable[str]) -> dict[str, bytes]:
    """Return the content hash of each of these events that is in the log already."""
    rows = await tx.fetch(SQL["known_events"], list(event_ids))
    return {row["event_id"]: bytes(row["content_hash"]) for row in rows}


async def said(tx: Database, event_ids: Iterable[str]) -> dict[str, tuple[datetime, bytes]]:
    """Return the instant and the body of each of these events that is in the log."""
    rows = await tx.fetch(SQL["said_by_events"], list(event_ids))
    return {row["event_id"]: (row["at"], bytes(row["body"])) for row in rows}


async def frontier(tx: Database) -> Frontier:
    """Return the frontier of the whole log as stored; raise MissingNodeError when it has holes."""
    leaves = await size(tx)
    wanted = tree.cover((0, leaves))
    found = await nodes(tx, wanted)
    return Frontier(leaves, [found[coordinate] for coordinate in wanted])


async def nodes(tx: Database, wanted: Sequence[Coordinate]) -> dict[Coordinate, bytes]:
    """Return the hashes of these complete subtrees; raise MissingNodeError when one is not stored."""
    levels, indexes = [w[0] for w in wanted], [w[1] for w in wanted]
    rows = await tx.fetch(SQL["read_nodes"], levels, indexes)
    found = {(row[0], row[1]): bytes(row[2]) for row in rows}
    if any(coordinate not in found for coordinate in wanted):
        raise MissingNodeError
    return found


async def root_at(tx: Database, leaves: int) -> bytes:
    """Return the root of the first `leaves` leaves, from stored subtrees."""
    return (await proof(tx, [(0, leaves)]))[0] if leaves else tree.EMPTY_ROOT


async def proof(tx: Database, ranges: Sequence[Range]) -> list[bytes]:
    """Return the hash of each range of a proof, from stored subtrees."""
    found = await nodes(tx, tree.needed(ranges))
    return tree.hashes_of(ranges, found.__getitem__)


async def append(tx: Database, grown: Frontier, leaves: Sequence[Leaf]) -> None:
    """Append leaves to the log and to `grown`, which must be the frontier of the log as stored."""
    first = grown.size
    hashes = [tree.leaf_hash(leaf.body) for leaf in leaves]
    made = [node for value in hashes for node in grown.push(value)]
    await tx.execute(
        SQL["insert_entries"],
        list(range(first, first + len(leaves))),
        [leaf.event_id for leaf in leaves],
        [leaf.content_hash for leaf in leaves],
        hashes,
        [leaf.body for leaf in leaves],
        [leaf.type for leaf in leaves],
        [leaf.member_ref for leaf in leaves],
        [leaf.change_id for leaf in leaves],
        [leaf.seq for leaf in leaves],
        [leaf.actor for leaf in leaves],
        [leaf.recipient for leaf in leaves],
        [leaf.stage for leaf in leaves],
        [leaf.at for leaf in leaves],
        await _facets(tx, leaves),
    )
    if first // SLICE != grown.size // SLICE:
        await tx.execute(SQL["insert_slices"], first // SLICE * SLICE, grown.size // SLICE * SLICE)
    await tx.execute(SQL["insert_nodes"], [n[0] for n in made], [n[1] for n in made], [n[2] for n in made])
    await _append_duties(tx, {first + n: leaf for n, leaf in enumerate(leaves)})


async def _facets(tx: Database, leaves: Sequence[Leaf]) -> list[int]:
    """Return the facet of each leaf, making those that are new."""
    of = [(x.type, x.kind, x.actor, x.recipient, x.stage, " ".join(x.clauses)) for x in leaves]
    wanted = list(dict.fromkeys(of))
    columns = [list(column) for column in zip(*wanted, strict=True)]
    rows = await tx.fetch(SQL["read_facets"], *columns)
    if len(rows) < len(wanted):
        await tx.execute(SQL["insert_facets"], *columns)
        rows = await tx.fetch(SQL["read_facets"], *columns)
    facets = dict(zip(wanted, (row["facet"] for row in rows), strict=True))
    return [facets[key] for key in of]


async def _append_duties(tx: Database, leaves: Mapping[int, Leaf]) -> None:
    owed = [(x.change_id, who, kind, i, x.at) for i, x in leaves.items() for who, kind in x.owed]
    answers = [(x.change_id, x.recipient, i) for i, x in leaves.items() if x.answers]
    if owed:
        await tx.execute(SQL["insert_owed"], *map(list, zip(*owed, strict=True)))
    if answers:
        await tx.execute(SQL["insert_answered"], *map(list, zip(*answers, strict=True)))


async def latest_checkpoint(tx: Database) -> StoredCheckpoint | None:
    """Return the checkpoint of the largest size, if any."""
    return _checkpoint(await tx.fetchrow(SQL["latest_checkpoint"]))


async def read_checkpoint(tx: Database, leaves: int) -> StoredCheckpoint | None:
    """Return the checkpoint of exactly this size, if any."""
    return _checkpoint(await tx.fetchrow(SQL["read_checkpoint"], leaves))


async def cosigned_note(tx: Database, found: StoredCheckpoint) -> str:
    """Return a checkpoint's note with the lines that witnesses have signed to it."""
    return found.note + str(await tx.fetchval(SQL["cosignatures"], found.size))


async def checkpoint_over(tx: Database, index: int) -> StoredCheckpoint | None:
    """Return the checkpoint to prove a leaf by: the newest cosigned one that covers it, else the newest."""
    size = await tx.fetchval(SQL["cosigned_size"], index)
    found = await read_checkpoint(tx, size) if size is not None else await latest_checkpoint(tx)
    return found if found is not None and found.size > index else None


def _checkpoint(row: asyncpg.Record | None) -> StoredCheckpoint | None:
    if row is None:
        return None
    return StoredCheckpoint(row["size"], bytes(row["root"]), row["note"], row["at"])


async def insert_checkpoint(tx: Database, made: StoredCheckpoint) -> None:
    """Store a checkpoint; one of the same size stays as it is."""
    await tx.execute(SQL["insert_checkpoint"], made.size, made.root, made.note, made.at)

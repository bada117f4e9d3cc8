"""Leaves appended with what proofs need, beside a bare insert of the same rows.

Ours is the writer's own path, from the bytes of records to COMMIT: decode, canonicalise, hash, grow the tree, insert
leaves, subtrees and duties; at the end of each run one signed checkpoint over all of it, by which a sample is proved
and verified. The bound inserts the rows of the leaves into a table like theirs and does nothing else. Batches of 500,
one transaction each; of four records one is a fact, the others are receipts.
"""

import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import asyncpg
from aiokafka import ConsumerRecord

from benchmarks import harness, servers
from benchmarks.harness import Run
from benchmarks.servers import Servers
from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.events import Addressee, Fact
from schemas.receipts import RECEIPT_TYPE, Receipt
from schemas.topics import FACTS, RECEIPTS
from services.audit import store, tree
from services.audit.checkpoint import open_checkpoint
from services.audit.handlers import Writer
from services.audit.leaf import Leaf, of_record
from services.audit.notary import Notary
from services.devstack.provision import AFFILIATES
from services.runtime import postgres
from services.runtime.clock import utc_now
from services.runtime.consumer import AppendedOffsets

BASE: Final = datetime(2026, 1, 1, tzinfo=UTC)
BATCH: Final = 500
PROVED_EVERY: Final = 997
COUNTED: Final = 2000
SEED: Final = bytes(range(32))
LIKE = "CREATE TABLE bare_entry (LIKE entry INCLUDING ALL); GRANT INSERT ON bare_entry TO audit"
ROWS_OF = """
SELECT index, event_id, content_hash, leaf_hash, body, type, member_ref, change_id, seq, actor, recipient, stage, at,
       facet
FROM entry WHERE index >= $1 ORDER BY index
"""
BYTES = "SELECT avg(octet_length(body)) FROM entry"
Records: TypeAlias = "Sequence[ConsumerRecord[Any, Any]]"


async def measure(leaves: int, runs: int) -> dict[str, Any]:
    """Return both rates, their ratio, and what one leaf costs."""
    async with servers.running(["audit"], kafka=False) as on:
        await servers.execute(on.admin_dsn("audit"), LIKE)
        counters = await _counted(on)
        pool = await postgres.open_pool(on.access.dsn("audit"), size=2)
        try:
            bench = _Bench(on, pool, leaves)
            figures = await harness.compare(bench.appended, bench.inserted, runs=runs)
        finally:
            await pool.close()
    return {
        "name": "audit",
        "event": "leaves",
        "bound_is": "bare insert of the leaves' rows",
        "workload": {"leaves": leaves, "batch": BATCH},
        "counters": counters,
        **figures,
    }


class _Bench:
    """One log that grows by `leaves` in each run."""

    def __init__(self, on: Servers, pool: asyncpg.Pool, leaves: int) -> None:
        self._on = on
        self._pool = pool
        self._leaves = leaves
        self._writer = Writer()
        self._notary = Notary(pool, SEED, on.folder, utc_now)
        self._notary.publish_key()
        self._first = 0

    async def appended(self) -> Run:
        """Append new records and sign; then prove some of them, which is not measured."""
        made = list(records(self._leaves))
        self._first = await store.size(self._pool)
        started, cpu = time.perf_counter(), time.process_time()
        await append(self._pool, self._writer, made)
        signed = await self._notary.sign()
        run = Run(self._leaves, time.perf_counter() - started, time.process_time() - cpu)
        assert signed is not None
        assert signed.size == self._first + self._leaves
        for index in range(self._first, signed.size, PROVED_EVERY):
            await self._prove(index, made[index - self._first])
        return run

    async def inserted(self) -> Run:
        """Insert the rows of the leaves that were just appended."""
        rows = [tuple(row) for row in await self._pool.fetch(ROWS_OF, self._first)]
        batches = [[list(c) for c in zip(*rows[i : i + BATCH], strict=True)] for i in range(0, len(rows), BATCH)]
        statement = store.SQL["insert_entries"].replace("INTO entry", "INTO bare_entry")
        started, cpu = time.perf_counter(), time.process_time()
        for columns in batches:
            async with self._pool.acquire() as tx, tx.transaction():
                await tx.execute(statement, *columns)
        return Run(len(rows), time.perf_counter() - started, time.process_time() - cpu)

    async def _prove(self, index: int, record: "ConsumerRecord[Any, Any]") -> None:
        stored = await store.checkpoint_over(self._pool, index)
        assert stored is not None
        signed = open_checkpoint(stored.note, self._notary.verifier)
        leaf = of_record(record)
        assert isinstance(leaf, Leaf)
        path = await store.proof(self._pool, tree.inclusion_ranges(index, signed.size))
        assert tree.verify_inclusion(tree.leaf_hash(leaf.body), index, signed.size, path, signed.root)


async def append(pool: asyncpg.Pool, writer: Writer, made: Records) -> None:
    """Append records as the follower hands them over: a batch and the offsets after it in one transaction."""
    offsets = AppendedOffsets()
    for start in range(0, len(made), BATCH):
        batch = made[start : start + BATCH]
        async with pool.acquire() as connection, connection.transaction():
            tx: Any = connection
            await writer.append(tx, batch)
            await offsets.store(tx, {(FACTS, 0): batch[-1].offset + 1})


async def _counted(on: Servers) -> dict[str, float]:
    """Append some to an empty log and return what one leaf cost."""
    made = list(records(COUNTED))
    before, rows = await on.statements("audit"), await on.rows("audit")
    pool = await postgres.open_pool(on.access.dsn("audit"), size=1)
    await append(pool, Writer(), made)
    size = float(await pool.fetchval(BYTES))
    await pool.close()
    counted = {"statements": await on.statements("audit") - before, "rows": await on.rows("audit") - rows}
    return {name: round(count / COUNTED, 5) for name, count in counted.items()} | {"bytes": round(size, 1)}


def records(count: int) -> "Iterator[ConsumerRecord[Any, Any]]":
    """Make facts of corrections, each followed by the receipts of three affiliates."""
    for number in range(0, count, 1 + len(AFFILIATES)):
        fact = _fact(number)
        yield _record(FACTS, number, fact, "kr.dongui.member.corrected.v1", "urn:dongui:fact:v1", fact.at)
        for affiliate in AFFILIATES[: count - number - 1]:
            receipt = _receipt(fact, affiliate)
            yield _record(RECEIPTS, number, receipt, RECEIPT_TYPE, "urn:dongui:receipt:v1", receipt.at)


def _fact(number: int) -> Fact:
    return Fact(
        change="corrected",
        change_id=str(uuid.uuid4()),
        member_ref=str(uuid.uuid4()),
        seq=2,
        at=BASE + timedelta(seconds=number),
        actor="member",
        channel="web",
        items=("email", "name"),
        commitments={"email": "5f" * 32, "name": "a0" * 32},
        addressees=tuple(Addressee(id=a, kind="affiliate", rules=("3.2-share",)) for a in AFFILIATES),
        policy_version="2021-02-22",
    )


def _receipt(fact: Fact, affiliate: str) -> Receipt:
    return Receipt(
        change_id=fact.change_id,
        member_ref=fact.member_ref,
        seq=fact.seq,
        recipient=affiliate,
        kind="affiliate",
        stage="applied",
        at=fact.at + timedelta(milliseconds=300),
    )


def _record(
    topic: str, offset: int, shape: Fact | Receipt, kind: str, schema: str, at: datetime
) -> "ConsumerRecord[Any, Any]":
    envelope = Envelope(
        id=str(uuid.uuid4()),
        type=kind,
        source="/dongui/consent",
        subject=shape.member_ref,
        sequence=shape.seq,
        previous=shape.seq - 1,
        time=at,
        dataschema=schema,
        content_type="application/json",
        change_id=shape.change_id,
    )
    value = codec.encode_clear(shape, envelope)
    headers = tuple((name, text.encode()) for name, text in to_headers(envelope).items())
    return ConsumerRecord(topic, 0, offset, 0, 0, b"", value, None, 0, len(value), headers)

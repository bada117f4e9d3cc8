"""The database's OWNER tampers: what was kept outside finds it and names the first bad entry, nothing new is signed."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.audit import kept, store, verify
from services.audit.leaf import searched
from services.audit.notary import InconsistentLogError, Notary
from services.audit.verify import Report
from services.runtime import postgres
from services.runtime.clock import utc_now
from tests.integration.audit import records
from tests.integration.audit.logs import Log, leaf_of


@pytest.fixture
async def sealed(databases: Any, tmp_path: Path) -> AsyncIterator[Log]:
    """A log of 20 entries with checkpoints at 8 and 20."""
    pool = await postgres.open_pool(databases.dsn("audit"), size=4)
    log = Log.of(pool, tmp_path / "data")
    for count in (8, 12):
        await log.grow(count)
        await log.seal()
    yield log
    await pool.close()


async def verified(log: Log, path: Path, *sizes: int, exact: bool = True) -> Report:
    """What `dongui audit verify --checkpoint` says of an export made now."""
    folder = log.data_dir / "checkpoints"
    outside = [(folder / f"{size}.txt").read_text() for size in sizes]
    leaves = list(kept.leaves(folder)) if exact else []
    return verify.verify_file(await log.exported(path, max(sizes)), log.notary.verifier, outside, leaves=leaves)


async def test_an_untouched_log_is_verified(sealed: Log, tmp_path: Path) -> None:
    report = await verified(sealed, tmp_path / "log", 20)
    assert report.ok, report.findings
    assert report.entries == 20
    assert await sealed.notary.sign() is None
    found = await sealed.patrol.round()
    assert (found.ok, found.size, sealed.patrol.agrees) == (True, 20, True)


RENUMBER = """
DELETE FROM entry WHERE index = 5;
UPDATE entry SET index = index - 1 + 1000 WHERE index > 5;
UPDATE entry SET index = index - 1000 WHERE index >= 1000;
"""
INSERT = """
UPDATE entry SET index = index + 1001 WHERE index >= 5;
UPDATE entry SET index = index - 1000 WHERE index >= 1000;
INSERT INTO entry SELECT (jsonb_populate_record(e, jsonb_build_object('index', 5, 'event_id', gen_random_uuid()))).*
FROM entry e WHERE index = 4;
UPDATE entry SET body = '{}'::bytea, leaf_hash = sha256('\\x00'::bytea || '{}'::bytea) WHERE index = 5;
"""
SWAP = """
UPDATE entry SET index = -index + 10000 WHERE index IN (5, 6);
UPDATE entry SET index = CASE index WHEN 9995 THEN 6 ELSE 5 END WHERE index > 9000;
"""
WITH_HASH = "UPDATE entry SET body = '{}'::bytea, leaf_hash = sha256('\\x00'::bytea || '{}'::bytea) "
CUT = "DELETE FROM entry WHERE index >= 15; DELETE FROM node WHERE (index + 1) << level > 15"

Tamper = Callable[[Log, asyncpg.Connection], Awaitable[Any]]


def sql(statement: str) -> Tamper:
    return lambda _, owner: owner.execute(statement)


async def restored(log: Log, owner: asyncpg.Connection) -> None:
    """Put yesterday's backup back: a log that was good when it had 8 entries."""
    await owner.execute(CUT.replace("15", "8"))
    for table in ("checkpoint", "anchored"):
        await owner.execute(f"DELETE FROM {table} WHERE size > 8")


async def rewritten(log: Log, owner: asyncpg.Connection, seed: bytes | None = None, first: int = 5) -> None:
    """Write the whole chain again with other facts from `first` on: entries, subtrees, checkpoints; nothing is left."""
    old = [bytes(row["body"]) for row in await owner.fetch("SELECT body FROM entry ORDER BY index")]
    leaves = [leaf_of(records.a_fact(records.a_member(), 1), n) for n in range(len(old))]
    same = [replace(leaf, body=body, **searched(body)) for leaf, body in zip(leaves, old, strict=True)]
    await owner.execute("TRUNCATE entry, node, checkpoint, anchored, owed, answered, verification")
    async with owner.transaction():
        await store.append(owner, await store.frontier(owner), same[:first] + leaves[first:])
    if seed is not None:
        forger = Notary(log.pool, seed, log.data_dir.with_name("forger"), utc_now)
        forger.publish_key()
        await forger.sign()


CASES: dict[str, tuple[Tamper, str, int]] = {
    "update": (sql("UPDATE entry SET body = '{}'::bytea WHERE index = 5"), "body_changed", 5),
    "update with its hash": (sql(WITH_HASH + "WHERE index = 5"), "leaf_differs", 5),
    "update after a checkpoint": (sql(WITH_HASH + "WHERE index = 12"), "leaf_differs", 12),
    "update of the last": (sql(WITH_HASH + "WHERE index = 19"), "leaf_differs", 19),
    "delete": (sql("DELETE FROM entry WHERE index = 5"), "entry_missing", 5),
    "delete and close up": (sql(RENUMBER), "leaf_differs", 5),
    "reorder": (sql(SWAP), "leaf_differs", 5),
    "back-dated insert": (sql(INSERT), "leaf_differs", 5),
    "truncated tail": (sql("DELETE FROM entry WHERE index >= 15"), "truncated", 15),
    "truncated with subtrees": (sql(CUT + "; DELETE FROM checkpoint WHERE size > 8"), "truncated", 15),
    "everything gone": (sql("TRUNCATE entry, node, checkpoint, anchored"), "truncated", 0),
    "old backup": (restored, "truncated", 8),
    "rewritten chain": (rewritten, "leaf_differs", 5),
    "rewritten from the first": (lambda log, owner: rewritten(log, owner, first=0), "leaf_differs", 0),
    "rewritten, signed by a key of theirs": (lambda log, o: rewritten(log, o, bytes(32)), "leaf_differs", 5),
    "rewritten, signed by the stolen key": (lambda log, o: rewritten(log, o, bytes(range(32))), "leaf_differs", 5),
}


@pytest.mark.f(25)
@pytest.mark.parametrize("name", CASES)
async def test_what_the_owner_changes_is_found_and_named(
    name: str, sealed: Log, databases: Any, tmp_path: Path
) -> None:
    tamper, code, first_bad = CASES[name]
    owner = await postgres.connect(databases.owner_dsn("audit"))
    try:
        await tamper(sealed, owner)
    finally:
        await owner.close()
    report = await verified(sealed, tmp_path / "log", 8, 20)
    assert code in {finding.code for finding in report.findings}
    assert report.first_bad_index == first_bad
    # A checkpoint alone, without the leaves' hashes, finds it too; it may name the place less exactly.
    report = await verified(sealed, tmp_path / "log", 20, exact=False)
    assert not report.ok
    assert report.first_bad_index is not None
    assert report.first_bad_index <= first_bad
    # And the audit process itself finds it in its next round.
    found = await sealed.patrol.round()
    assert (found.first_bad_index, sealed.patrol.agrees) == (first_bad, False)
    told = await sealed.pool.fetchrow("SELECT ok, first_bad_index FROM verification ORDER BY position DESC LIMIT 1")
    assert dict(told) == {"ok": False, "first_bad_index": first_bad}


@pytest.mark.f(25)
@pytest.mark.parametrize(
    ("statement", "code", "first_bad"),
    [
        ("UPDATE entry SET member_ref = gen_random_uuid() WHERE index = 7", "column_differs", 7),
        ("UPDATE entry SET at = at + interval '1 day' WHERE index = 7", "column_differs", 7),
        ("UPDATE node SET hash = sha256('x') WHERE level = 2 AND index = 1", "node_differs", 4),
        ("DELETE FROM node WHERE level = 1 AND index = 3", "node_differs", 6),
        ("UPDATE checkpoint SET note = 'x' WHERE size = 8", "bad_checkpoint", None),
    ],
)
async def test_the_patrol_finds_what_an_export_does_not_show(
    sealed: Log, databases: Any, statement: str, code: str, first_bad: int | None
) -> None:
    owner = await asyncpg.connect(databases.owner_dsn("audit"))
    await owner.execute(statement)
    await owner.close()
    found = await sealed.patrol.round()
    assert [f.code for f in found.findings] == [code]
    assert found.first_bad_index == first_bad
    assert not sealed.patrol.agrees


@pytest.mark.f(25)
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entry WHERE index >= 15; DELETE FROM checkpoint WHERE size > 8",
        "DELETE FROM entry WHERE index >= 15",
        "DELETE FROM node WHERE level = 4",
        "UPDATE node SET hash = sha256('x') WHERE level = 4 AND index = 0",
        "UPDATE node SET hash = sha256('x') WHERE level = 4; DELETE FROM checkpoint",
    ],
)
async def test_a_log_that_contradicts_its_checkpoint_gets_no_new_signature(
    sealed: Log, databases: Any, statement: str
) -> None:
    before = (sealed.data_dir / "checkpoints/latest.txt").read_text()
    owner = await asyncpg.connect(databases.owner_dsn("audit"))
    await owner.execute(statement)
    await owner.close()
    with pytest.raises((InconsistentLogError, store.MissingNodeError)):
        await _sign_growing(sealed)
    assert sealed.notary.agrees is False
    assert (sealed.data_dir / "checkpoints/latest.txt").read_text() == before


async def _sign_growing(log: Log) -> None:
    """Sign, let the log grow, and sign again: some tampering shows only when the next proof needs the node."""
    for _ in range(3):
        await log.notary.sign()
        await log.grow(1)


async def test_a_lost_checkpoint_folder_is_no_reason_to_stop(sealed: Log) -> None:
    shutil.rmtree(sealed.data_dir / "checkpoints")
    sealed.notary.publish_key()
    assert await sealed.notary.sign() is None

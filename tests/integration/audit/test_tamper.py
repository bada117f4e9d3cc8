"""The database's OWNER tampers: a checkpoint kept outside finds it, and nothing new is signed."""

import asyncio
import shutil
from pathlib import Path

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaProducer

from services.audit import api, verify
from services.audit.agents import Parts
from services.audit.notary import InconsistentLogError
from services.audit.verify import Report
from services.runtime.auth import Principal
from services.runtime.clock import utc_now
from tests.integration.audit import records
from tests.integration.audit.conftest import until, writing

COUNT = "SELECT count(*) FROM entry"
SIGNED = "SELECT max(size) FROM checkpoint"


class Compliance:
    """Stands for the identity provider: everyone is compliance staff."""

    async def principal(self, _authorization: str | None) -> Principal:
        return Principal("staff", frozenset({"compliance"}))


@pytest.fixture
async def sealed(parts: Parts, producer: AIOKafkaProducer) -> Parts:
    """A log of 20 entries with checkpoints at 8 and 20, and no writer running."""
    for goal in (8, 20):
        async with writing(parts):
            while await parts.pool.fetchval(COUNT) < goal:
                missing = goal - await parts.pool.fetchval(COUNT)
                for _ in range(missing):
                    fact = records.a_fact(records.a_member(), 1)
                    await records.send(producer, parts.settings.topic_prefix, fact)
                await until(parts.pool, COUNT, goal)
            await until(parts.pool, SIGNED, goal)
    return parts


async def exported(parts: Parts, path: Path) -> Path:
    """Export over HTTP, as `dongui audit export` does."""

    async def ready() -> dict[str, bool]:
        return {}

    app = api.create(
        parts.pool,
        Compliance(),
        vkey="",
        clock=utc_now,
        ready=ready,  # type: ignore[arg-type]
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://audit") as client:
        answer = await client.get("/v1/audit/export")
    assert answer.status_code == 200
    path.write_bytes(answer.content)
    return path


async def verified(parts: Parts, path: Path, *sizes: int) -> Report:
    folder = parts.settings.data_dir / "checkpoints"
    outside = [(folder / f"{size}.txt").read_text() for size in sizes]
    return verify.verify_file(await exported(parts, path), parts.notary.verifier, outside)


async def test_an_untouched_log_is_verified(sealed: Parts, tmp_path: Path) -> None:
    report = await verified(sealed, tmp_path / "log", 20)
    assert report.ok, report.findings
    assert report.entries == 20
    assert await sealed.notary.sign() is None


RENUMBER = """
DELETE FROM entry WHERE index = 5;
UPDATE entry SET index = index - 1 + 1000 WHERE index > 5;
UPDATE entry SET index = index - 1000 WHERE index >= 1000;
"""
INSERT = """
UPDATE entry SET index = index + 1001 WHERE index >= 5;
UPDATE entry SET index = index - 1000 WHERE index >= 1000;
INSERT INTO entry (index, event_id, content_hash, leaf_hash, body, type, at)
SELECT 5, gen_random_uuid(), content_hash, sha256('\\x00'::bytea || '{}'::bytea), '{}'::bytea, type, at
FROM entry WHERE index = 4;
"""
SWAP = """
UPDATE entry SET index = -index + 10000 WHERE index IN (5, 6);
UPDATE entry SET index = CASE index WHEN 9995 THEN 6 ELSE 5 END WHERE index > 9000;
"""
WITH_HASH = "UPDATE entry SET body = '{}'::bytea, leaf_hash = sha256('\\x00'::bytea || '{}'::bytea) "


@pytest.mark.parametrize(
    ("statement", "code", "first_bad"),
    [
        ("UPDATE entry SET body = '{}'::bytea WHERE index = 5", "body_changed", 5),
        (WITH_HASH + "WHERE index = 5", "root_differs", 0),
        (WITH_HASH + "WHERE index = 12", "root_differs", 8),
        ("DELETE FROM entry WHERE index = 5", "entry_missing", 5),
        (RENUMBER, "root_differs", 0),
        (SWAP, "root_differs", 0),
        (INSERT, "root_differs", 0),
        ("DELETE FROM entry WHERE index >= 15", "truncated", 8),
        (
            "DELETE FROM entry WHERE index >= 15; DELETE FROM checkpoint WHERE size > 8",
            "truncated",
            8,
        ),
    ],
)
async def test_what_the_owner_changes_is_found_and_named(
    sealed: Parts,
    owner: asyncpg.Connection,
    tmp_path: Path,
    statement: str,
    code: str,
    first_bad: int,
) -> None:
    await owner.execute(statement)
    report = await verified(sealed, tmp_path / "log", 8, 20)
    assert code in {finding.code for finding in report.findings}
    assert report.first_bad_index == first_bad


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
    sealed: Parts, owner: asyncpg.Connection, producer: AIOKafkaProducer, statement: str
) -> None:
    before = (sealed.settings.data_dir / "checkpoints/latest.txt").read_text()
    await owner.execute(statement)
    with pytest.raises(InconsistentLogError):
        await _sign_growing(sealed, producer)
    assert sealed.notary.agrees is False
    assert (sealed.settings.data_dir / "checkpoints/latest.txt").read_text() == before


async def _sign_growing(parts: Parts, producer: AIOKafkaProducer) -> None:
    """Sign, let the log grow, and sign again: some tampering shows only when the next proof needs the node."""
    for _ in range(3):
        await parts.notary.sign()
        await records.send(producer, parts.settings.topic_prefix, records.a_fact(records.a_member(), 1))
        async with writing(parts):
            await asyncio.sleep(1)


async def test_a_lost_checkpoint_folder_is_no_reason_to_stop(sealed: Parts) -> None:
    shutil.rmtree(sealed.settings.data_dir / "checkpoints")
    sealed.notary.publish_key()
    assert await sealed.notary.sign() is None

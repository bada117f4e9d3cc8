"""After a purge no byte of a deleted row is in any file of a real PostgreSQL; or the command says what keeps it.

The oracle reads every file below the server's data directory, and asks for nothing.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from services import cli
from services.devstack import account
from tests.support.databases import Databases
from tests.support.servers import Servers

ROWS = 100
REF = "01a20f2a-a131-762e-ae9c-05d2a679804e"
SLOT = "forgotten_standby"


@pytest.fixture
def store(stack: Servers, databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The owner's DSN of a store, and the settings of an operator who may purge it."""
    monkeypatch.setenv("DONGUI_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DONGUI_ADMIN_DSN", databases.admin_dsn)
    monkeypatch.setenv("DONGUI_OWNER_DSNS", json.dumps({"tmax-os": databases.owner_dsn("tmax-os")}))
    return databases.owner_dsn("tmax-os")


async def dongui(*arguments: str) -> Result:
    """Run the command in a thread: it has a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, cli.build(arguments), list(arguments))


@asynccontextmanager
async def connected(dsn: str, application: str = "test") -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn, server_settings={"application_name": application})
    try:
        yield connection
    finally:
        await connection.close()


async def lived(dsn: str) -> bytes:
    """A hundred members with a value nobody else has come, and the planner looks at them; return the value."""
    value = f"zq{secrets.token_hex(8)}"
    async with connected(dsn) as connection:
        await connection.execute(
            "INSERT INTO member (member_ref, seq, email, name, applied_at) SELECT gen_random_uuid(), 1, v, v, now()"
            " FROM (SELECT $1 || n AS v FROM generate_series(1, 100) n) made",
            value,
        )
        await connection.execute("CREATE INDEX IF NOT EXISTS by_name ON member (name)")
        await connection.execute("ANALYZE member")
    return value.encode()


async def gone(dsn: str) -> None:
    """They are emptied first and deleted then: two old versions of every row."""
    async with connected(dsn) as connection:
        await connection.execute("UPDATE member SET email = NULL")
        await connection.execute("DELETE FROM member")


def places(stack: Servers, value: bytes) -> dict[str, int]:
    """Return every file of the server that holds the value."""
    root = account.choose(stack.base_dir).data
    found = {}
    for path in root.rglob("*"):
        try:
            hits = path.read_bytes().count(value) if path.is_file() else 0
        except FileNotFoundError:
            continue
        if hits:
            found["wal" if "pg_wal" in path.parts else "tables"] = hits
    return found


async def test_nothing_of_a_deleted_row_is_in_any_file_after_it(stack: Servers, store: str) -> None:
    value = await lived(store)
    await gone(store)
    assert "wal" in places(stack, value), "a deleted row is not gone by itself"
    done = await dongui("erasure", "purge")
    assert done.exit_code == 0, done.output
    assert places(stack, value) == {}


async def test_a_transaction_from_before_is_waited_for_and_named_when_it_stays_open(
    stack: Servers, store: str, databases: Databases
) -> None:
    """VACUUM FULL would carry over all that it could still see: the cause of the bytes that purges used to leave."""
    value = await lived(store)
    async with connected(store, "forgotten report") as forgotten:
        begun = forgotten.transaction(isolation="repeatable_read")
        await begun.start()
        await forgotten.fetchval("SELECT count(*) FROM watermark")
        await gone(store)
        done = await dongui("erasure", "purge", "--wait", "0.3")
        assert done.exit_code == 1
        assert "forgotten report" in done.stderr
        assert databases.name("tmax-os") in done.stderr
        assert places(stack, value) != {}
        waiting = asyncio.create_task(dongui("erasure", "purge", "--wait", "30"))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await begun.rollback()
        assert (await waiting).exit_code == 0
    assert places(stack, value) == {}


async def test_wal_that_a_replication_slot_keeps_is_told_by_the_slots_name(
    stack: Servers, store: str, databases: Databases
) -> None:
    value = await lived(store)
    async with connected(databases.admin_dsn) as admin:
        await admin.execute("SELECT pg_create_physical_replication_slot($1, true)", SLOT)
        try:
            await gone(store)
            done = await dongui("erasure", "purge")
        finally:
            await admin.execute("SELECT pg_drop_replication_slot($1)", SLOT)
    assert (done.exit_code, SLOT in done.stderr) == (4, True), done.output
    assert places(stack, value).keys() == {"wal"}
    assert (await dongui("erasure", "purge")).exit_code == 0
    assert places(stack, value) == {}


async def test_what_was_sampled_before_sampling_ended_is_found_by_a_scan_and_cleared_by_a_purge(
    stack: Servers, store: str, tmp_path: Path
) -> None:
    async with connected(store) as connection:
        await connection.execute("ALTER TABLE member ALTER COLUMN name SET STATISTICS 100")
        value = await lived(store)
        await connection.execute("ALTER TABLE member ALTER COLUMN name SET STATISTICS 0")
        await gone(store)
        await connection.execute("ANALYZE member")
        (tmp_path / "canaries.txt").write_bytes(value)
        scan = ("erasure", "scan", "--canaries", str(tmp_path / "canaries.txt"), "--format", "json")
        found = json.loads((await dongui(*scan)).stdout)["hits"]
        assert found["database tmax-os: planner's statistics"] >= 1
        assert (await dongui("erasure", "purge")).exit_code == 0
        found = json.loads((await dongui(*scan)).stdout)["hits"]
        assert not [place for place in found if place.startswith("database")]
        assert (
            await connection.fetchval("SELECT count(*) FROM pg_stats WHERE attname = 'name' AND tablename = 'member'")
            == 0
        )

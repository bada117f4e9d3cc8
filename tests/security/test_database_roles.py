"""What a process may do with its own database, tried statement by statement; PostgreSQL writes every refusal down."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.devstack.provision import database_names, owner_of
from tests.support.databases import opened

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
NEVER = (
    "TRUNCATE {t}",
    "ALTER TABLE {t} ADD COLUMN mine int",
    "ALTER TABLE {t} DISABLE TRIGGER ALL",
    "ALTER TABLE {t} OWNER TO CURRENT_USER",
    "DROP TABLE {t}",
    "COPY {t} FROM PROGRAM 'true'",
    "COPY {t} TO '/tmp/{t}'",
)
"""What no process role may do to any table of its own database."""
NEVER_IN_THE_LOG = ("DELETE FROM {t}", "UPDATE {t} SET {c} = {c}")
"""What the audit role may not do either: its log is append-only."""


NOBODY_ELSE = (
    "SET session_replication_role = replica",
    'SET ROLE "{owner}"',
    "CREATE TABLE public.mine (x int)",
    "CREATE EXTENSION file_fdw",
    "ALTER SYSTEM SET log_min_messages = 'panic'",
    "SELECT pg_read_file('postgresql.conf')",
)
POWERS = """
SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication FROM pg_roles
WHERE rolname = current_user
"""


@pytest.mark.f(26)
@pytest.mark.parametrize("name", database_names())
async def test_a_process_role_changes_no_table_becomes_nobody_else_and_is_written_down(
    stack: Any, databases: Any, name: str
) -> None:
    log = stack.base_dir / "log" / "postgres.log"
    start = log.stat().st_size
    connection = await asyncpg.connect(databases.dsn(name))
    try:
        statements = await _on_tables(connection, NEVER + (NEVER_IN_THE_LOG if name == "audit" else ()))
        for statement in statements + [one.format(owner=owner_of(name)) for one in NOBODY_ELSE]:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        assert await connection.fetchval(POWERS) is False
    finally:
        await connection.close()
    assert _refusals(log, start) >= len(statements) > 0, "PostgreSQL's log has a line for each attempt"


async def _on_tables(connection: asyncpg.Connection, statements: tuple[str, ...]) -> list[str]:
    tables = [row["tablename"] for row in await connection.fetch(TABLES)]
    return [s.format(t=f'"{table}"', c=await _column(connection, table)) for table in tables for s in statements]


async def _column(connection: asyncpg.Connection, table: str) -> str:
    found = await connection.fetchval(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND attidentity = ''"
        " ORDER BY attnum LIMIT 1",
        f'"{table}"',
    )
    return f'"{found}"'


def _refusals(log: Path, start: int) -> int:
    with log.open("rb") as lines:
        lines.seek(start)
        return sum(b"ERROR:" in line and (b"permission denied" in line or b"must be owner" in line) for line in lines)


REWRITTEN = (
    "UPDATE consent SET given_at = now()",
    "UPDATE consent SET notice_hash = 'x'",
    "UPDATE consent SET actor = 'x', ended_at = now()",
    "UPDATE disclosure SET items = '{}'",
    "UPDATE disclosure SET basis = 'x'",
    "UPDATE disclosure SET at = now()",
    "UPDATE delivery SET recipient = 'x'",
    "UPDATE notice SET items = '{}'",
    "DELETE FROM consent",
    "DELETE FROM disclosure",
    "DELETE FROM delivery",
    "DELETE FROM notice",
)
ADDED = {
    "consent": {"ended_at", "ended_by"},
    "disclosure": {"relayed_at", "applied_at"},
    "delivery": {"stage", "at", "relayed_at", "outcome", "reason"},
    "notice": {"outcome", "acknowledged_at", "answered_via", "evidence", "cursor"},
}
"""What the consent process may add to a row of evidence, by table."""
MAY_CHANGE = """
SELECT column_name FROM information_schema.column_privileges
WHERE grantee = current_user AND privilege_type = 'UPDATE' AND table_name = $1
"""


@pytest.mark.f(26)
async def test_the_consent_process_adds_to_its_evidence_and_rewrites_none_of_it(databases: Any) -> None:
    async with opened(databases.dsn("consent")) as process:
        for statement in REWRITTEN:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await process.execute(statement)
        for table, columns in ADDED.items():
            assert {row[0] for row in await process.fetch(MAY_CHANGE, table)} == columns


DAY = "(now() AT TIME ZONE 'Asia/Seoul')::date"
KEEP = f"""
WITH made AS (
    INSERT INTO kept_record (record_id, member_ref, class, occurred_at, destroy_on, rule, sealed, retained_at)
    VALUES ($1, $2, 'payment', now(), {DAY} + $3::int, 'ecommerce.payment', 'sealed', now())
)
INSERT INTO record_key (record_id, wrapped, kek_id) VALUES ($1, decode(repeat('0a', 60), 'hex'), 'one')
"""
READ = f"SELECT * FROM read_records($1, NULL, 'compliance', 'case-7', 'officer-1', now(), {DAY} + $2::int)"
DESTROY = "SELECT record_id FROM destroy_records($1, now(), 1000000)"
NEVER_SO_LATE = "9998-12-31"


@dataclass
class Vault:
    """The retention database: the process's connection, the owner's, and a member of whom something is kept."""

    process: asyncpg.Connection
    owner: asyncpg.Connection
    ref: uuid.UUID

    async def keep(self, days: int) -> uuid.UUID:
        """Keep a record whose first day of being over is `days` from today."""
        record_id = uuid.uuid4()
        await self.process.execute(KEEP, record_id, self.ref, days)
        return record_id

    async def destroyed(self, day: str) -> set[uuid.UUID]:
        return {row["record_id"] for row in await self.process.fetch(DESTROY.replace("$1", f"date '{day}'"))}

    async def purged(self) -> int:
        return int(await self.process.fetchval(f"SELECT purge_readings('{NEVER_SO_LATE}')"))


@pytest.fixture
async def vault(databases: Any) -> AsyncIterator[Vault]:
    async with opened(databases.dsn("retention")) as process, opened(databases.owner_dsn("retention")) as owner:
        yield Vault(process, owner, uuid.uuid4())


@pytest.mark.f(26)
async def test_a_record_goes_on_its_day_by_the_databases_clock_and_not_on_a_day_the_process_names(vault: Vault) -> None:
    over, later = await vault.keep(0), await vault.keep(2)
    assert await vault.destroyed("2021-02-22") == set(), "an earlier day is believed"
    assert await vault.destroyed(NEVER_SO_LATE) == {over}
    await vault.owner.execute("INSERT INTO clock_ahead VALUES (3)")
    assert await vault.destroyed(NEVER_SO_LATE) == {later}


@pytest.mark.f(26)
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO clock_ahead VALUES (9999)",
        "UPDATE clock_ahead SET days = 9999",
        "UPDATE reading SET noted_on = now()",
    ],
)
async def test_the_process_sets_no_clock(vault: Vault, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await vault.process.execute(statement)


@pytest.mark.f(26)
@pytest.mark.parametrize("said", [-1, 731])
async def test_a_note_of_who_read_stays_two_years_whatever_the_process_says(vault: Vault, said: int) -> None:
    await vault.keep(2)
    assert len(await vault.process.fetch(READ, vault.ref, said)) == 1
    await vault.owner.execute("UPDATE reading SET noted_on = noted_on - 700")
    assert await vault.purged() == 0
    await vault.owner.execute("UPDATE reading SET noted_on = noted_on - 31, destroy_on = noted_on")
    assert await vault.purged() == 1


async def test_a_key_is_not_replaced_by_what_is_no_wrapping(vault: Vault) -> None:
    record_id, rewrap = await vault.keep(2), "SELECT rewrap_key($1, $2, 'two')"
    with pytest.raises(asyncpg.CheckViolationError):
        await vault.process.execute(rewrap, record_id, b"\x00")
    await vault.process.execute(rewrap, record_id, b"\x0b" * 60)
    row = await vault.owner.fetchrow("SELECT wrapped, kek_id FROM record_key WHERE record_id = $1", record_id)
    assert tuple(row) == (b"\x0b" * 60, "two")

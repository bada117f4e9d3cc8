"""What a process may do with its own database, tried statement by statement; PostgreSQL writes every refusal down."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.devstack.provision import database_names

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


@pytest.mark.f(26)
@pytest.mark.parametrize("name", database_names())
async def test_a_process_role_changes_no_table_and_reaches_no_file(stack: Any, databases: Any, name: str) -> None:
    statements = NEVER + (NEVER_IN_THE_LOG if name == "audit" else ())
    log = stack.base_dir / "log" / "postgres.log"
    start = log.stat().st_size
    connection = await asyncpg.connect(databases.dsn(name))
    try:
        tables = [row["tablename"] for row in await connection.fetch(TABLES)]
        assert tables
        refused = 0
        for table in tables:
            for statement in statements:
                await _refused(connection, statement.format(t=f'"{table}"', c=await _column(connection, table)))
                refused += 1
    finally:
        await connection.close()
    assert _refusals(log, start) >= refused, "PostgreSQL's log has a line for each attempt"


@pytest.mark.f(26)
@pytest.mark.parametrize("name", database_names())
async def test_a_process_role_becomes_nobody_else(databases: Any, name: str) -> None:
    connection = await asyncpg.connect(databases.dsn(name))
    try:
        for statement in (
            "SET session_replication_role = replica",
            f'SET ROLE "{name}_owner"',
            "CREATE TABLE public.mine (x int)",
            "CREATE EXTENSION file_fdw",
            "ALTER SYSTEM SET log_min_messages = 'panic'",
            "SELECT pg_read_file('postgresql.conf')",
        ):
            await _refused(connection, statement)
        assert not await connection.fetchval(
            "SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication"
            " FROM pg_roles WHERE rolname = current_user"
        )
    finally:
        await connection.close()


async def _column(connection: asyncpg.Connection, table: str) -> str:
    found = await connection.fetchval(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND attidentity = ''"
        " ORDER BY attnum LIMIT 1",
        f'"{table}"',
    )
    return f'"{found}"'


async def _refused(connection: asyncpg.Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)


def _refusals(log: Path, start: int) -> int:
    with log.open("rb") as lines:
        lines.seek(start)
        return sum(b"ERROR:" in line and (b"permission denied" in line or b"must be owner" in line) for line in lines)

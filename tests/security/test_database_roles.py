"""What a process may do with its own database, tried statement by statement; PostgreSQL writes every refusal down."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.devstack.provision import database_names, owner_of

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

"""The servers a comparison runs on: a Kafka and a PostgreSQL of its own that counts the statements it is sent."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from schemas.topics import all_topics
from services.devstack import topics
from services.devstack.postgres import Postgres
from services.devstack.provision import AFFILIATES, Access, provision
from services.devstack.stack import Stack, prepare, to_stderr
from services.devstack.system import System
from services.runtime.settings import Settings

JARS = Path(__file__).resolve().parents[1] / ".dongui" / "jars"
STOP_S = 20
COUNTING = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "top",
    "pg_stat_statements.max": "5000",
    "track_commit_timestamp": "on",
}
STATEMENTS = """
SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements JOIN pg_database d ON d.oid = dbid
WHERE d.datname = ANY($1::text[]) AND userid <> current_user::regrole
"""
"""What the measurement itself asks as superuser is not counted: it grows with the time that a run takes."""
ROWS = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables"


@dataclass(frozen=True)
class Servers:
    """What is running, and how to connect to it."""

    stack: Stack
    access: Access
    folder: Path

    def settings(self, **more: object) -> Settings:
        """Return the settings of a process on these servers."""
        return Settings(profile="dev", kafka=self.stack.bootstrap, data_dir=self.folder, **more)  # type: ignore[arg-type]

    async def database(self, like: str, name: str) -> str:
        """Copy a migrated database that nobody is connected to; return the copy's superuser DSN."""
        await execute(self.access.admin_dsn, f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
        return self.admin_dsn(name)

    def admin_dsn(self, database: str) -> str:
        """Return the superuser's DSN of a database."""
        return f"{self.access.admin_dsn.rpartition('/')[0]}/{database}"

    async def statements(self, *databases: str) -> int:
        """Return how many statements the product sent these databases so far, BEGIN and COMMIT among them."""
        connection = await asyncpg.connect(self.access.admin_dsn)
        try:
            return int(await connection.fetchval(STATEMENTS, list(databases)))
        finally:
            await connection.close()

    async def rows(self, *databases: str) -> int:
        """Return how many rows were written in these databases so far; close what wrote them before you ask."""
        found = 0
        for name in databases:
            connection = await asyncpg.connect(self.admin_dsn(name))
            try:
                found += int(await connection.fetchval(ROWS))
            finally:
                await connection.close()
        return found


@asynccontextmanager
async def running(
    databases: Iterable[str], *, kafka: bool = True, settings: dict[str, str] | None = None
) -> AsyncIterator[Servers]:
    """Start both servers (or PostgreSQL alone), the databases migrated; stop and remove them after.

    `settings` are more of PostgreSQL's own.
    """
    with tempfile.TemporaryDirectory(prefix="dongui-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        stack = Stack(folder, jar_cache=JARS, say=to_stderr, postgres_settings=COUNTING | (settings or {}))
        prepare(folder)
        await (stack.start() if kafka else stack.postgres.start())
        try:
            yield Servers(stack, await _provisioned(stack.postgres, folder, list(databases)), folder)
        finally:
            await stack.stop()


@asynccontextmanager
async def system(settings: dict[str, str] | None = None) -> AsyncIterator[System]:
    """Start everything on servers of its own, with more `settings` of PostgreSQL; stop and remove all of it after."""
    with tempfile.TemporaryDirectory(prefix="dongui-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        stack = Stack(folder, jar_cache=JARS, say=to_stderr, postgres_settings=settings)
        await stack.start()
        whole = System(folder, stack=stack, say=to_stderr)
        try:
            await whole.start()
            yield whole
        finally:
            await whole.stop()
            await stack.stop()


async def _provisioned(postgres: Postgres, folder: Path, databases: list[str]) -> Access:
    access = Access.load(postgres, folder / "secrets" / "databases.json", databases)
    await provision(access, databases)
    await execute(access.admin_dsn, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    return access


@asynccontextmanager
async def program(module: str, *arguments: str, variables: dict[str, str]) -> AsyncIterator[int]:
    """Run a module as a process of its own; yield its process id, and end it after."""
    command = [sys.executable, "-m", module, *arguments]
    process = await asyncio.create_subprocess_exec(*command, env=variables)
    try:
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), STOP_S)


async def make_topics(servers: Servers) -> None:
    """Make the topics of the contract."""
    await topics.create(servers.stack.bootstrap, all_topics(AFFILIATES))


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Lend a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def execute(dsn: str, statement: str) -> None:
    """Run one statement on a connection of its own."""
    async with connected(dsn) as connection:
        await connection.execute(statement)


async def fetch(dsn: str, statement: str, *values: object) -> list[asyncpg.Record]:
    """Run one query on a connection of its own."""
    async with connected(dsn) as connection:
        return await connection.fetch(statement, *values)


def cpu_s(pid: int) -> float:
    """CPU seconds of one process so far: what the work costs, however busy the machine is."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

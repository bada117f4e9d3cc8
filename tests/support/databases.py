"""Fresh databases for one test, copied from templates that are migrated once in a run.

A database is made when its DSN is first asked for. The copying runs in a thread with a loop of its own, so `dsn`
is an ordinary method.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg

from services.devstack.provision import (
    Access,
    close_to_public,
    create_database,
    migrate_one,
    quoted,
)


class Templates:
    """The migrated templates of one run; `{role}` in the grants is the role of that name, shared by all copies."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._made: set[str] = set()
        self._lock = threading.Lock()

    def copy(self, name: str, database: str) -> None:
        """Create `database` as a copy of the template of `name`, making the template first when needed."""
        with self._lock:
            if name not in self._made:
                _apart(lambda: self._make(name))
                self._made.add(name)
        _apart(lambda: self._copy(name, database))

    async def _make(self, name: str) -> None:
        async with admin(self.access) as connection:
            await create_database(connection, name, f"template_{name}")
        await migrate_one(self.access, name, f"template_{name}")

    async def _copy(self, name: str, database: str) -> None:
        async with admin(self.access) as connection:
            await connection.execute(
                f"CREATE DATABASE {quoted(database)} TEMPLATE {quoted(f'template_{name}')} STRATEGY FILE_COPY "
                f"OWNER {quoted(f'{name}_owner')}"
            )
            await close_to_public(connection, name, database)


class Databases:
    """The databases of one test: `dsn("consent")` is the process role's, `owner_dsn` the owner's."""

    def __init__(self, templates: Templates, prefix: str) -> None:
        self._templates = templates
        self._access = templates.access
        self._made: dict[str, str] = {}
        self._prefix = prefix

    @property
    def admin_dsn(self) -> str:
        """DSN of the superuser."""
        return self._access.admin_dsn

    def name(self, name: str) -> str:
        """Return the real name of this test's database of that kind, making it when it is first asked for."""
        if name not in self._made:
            database = f"{self._prefix}_{name}"
            self._templates.copy(name, database)
            self._made[name] = database
        return self._made[name]

    def dsn(self, name: str) -> str:
        """Return the process role's DSN of `consent`, `keyring`, `audit`, `retention`, `notices` or an affiliate id."""
        return self._access.dsn(name, self.name(name))

    def owner_dsn(self, name: str) -> str:
        """Return the owner's DSN of the same."""
        return self._access.owner_dsn(name, self.name(name))

    @asynccontextmanager
    async def blocked(self, name: str) -> AsyncIterator[None]:
        """Make one database unreachable, its connections cut, as if its server were down; open it again after."""
        database = self.name(name)
        async with admin(self._access) as connection:
            await connection.execute(f"ALTER DATABASE {quoted(database)} ALLOW_CONNECTIONS false")
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
                database,
            )
        try:
            yield
        finally:
            async with admin(self._access) as connection:
                await connection.execute(f"ALTER DATABASE {quoted(database)} ALLOW_CONNECTIONS true")

    async def drop(self) -> None:
        """Drop what this test made, whoever is still connected."""
        async with admin(self._access) as connection:
            for database in self._made.values():
                await connection.execute(f"DROP DATABASE IF EXISTS {quoted(database)} WITH (FORCE)")


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Lend a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


def admin(access: Access) -> AbstractAsyncContextManager[asyncpg.Connection]:
    """Lend a superuser's connection."""
    return opened(access.admin_dsn)


def _apart(work: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine in a thread with its own loop and wait for it; the caller may sit in a running loop."""
    failure: list[BaseException] = []

    async def call() -> None:
        await work()

    def run() -> None:
        try:
            asyncio.run(call())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]

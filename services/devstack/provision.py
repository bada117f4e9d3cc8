"""Roles and databases: each database is owned by `<name>_owner`; its process role may connect to it and no other.

Tables are the owner's; the migrations grant the process role what it needs and nothing more.
"""

import asyncio
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import asyncpg
import orjson

from services.devstack.postgres import Postgres
from services.runtime.migrate import migrate, package_of
from services.runtime.settings import DATABASES

AFFILIATES = ("tmax-cloud", "tmax-os", "tmax-anc")


class Roles(Protocol):
    """What provisioning needs to know of the roles: their passwords, and how an owner or a superuser connects."""

    @property
    def admin_dsn(self) -> str: ...

    def password(self, role: str) -> str: ...

    def owner_dsn(self, name: str, database: str | None = None) -> str: ...


class Access:
    """The random passwords of one cluster's roles, kept in a 0600 file, and the DSNs made of them."""

    def __init__(self, postgres: Postgres, passwords: dict[str, str]) -> None:
        self._postgres = postgres
        self._passwords = passwords

    @classmethod
    def load(cls, postgres: Postgres, path: Path, names: Iterable[str]) -> "Access":
        """Read the passwords of the roles of `names`, making those that are missing."""
        kept: dict[str, str] = orjson.loads(path.read_bytes()) if path.exists() else {}
        roles = [role for name in names for role in (name, owner_of(name))]
        passwords = {role: kept.get(role) or secrets.token_urlsafe(24) for role in roles}
        if passwords != kept:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            path.write_bytes(orjson.dumps(kept | passwords))
        return cls(postgres, kept | passwords)

    @property
    def admin_dsn(self) -> str:
        """DSN of the superuser."""
        return self._postgres.admin_dsn

    def password(self, role: str) -> str:
        """Return a role's password."""
        return self._passwords[role]

    def dsn(self, name: str, database: str | None = None) -> str:
        """Return the DSN of the process role of `name`, on its database or on another (a test's copy)."""
        return self._postgres.dsn(database or name, name, self._passwords[name])

    def owner_dsn(self, name: str, database: str | None = None) -> str:
        """Return the DSN of the owner role of `name`."""
        owner = owner_of(name)
        return self._postgres.dsn(database or name, owner, self._passwords[owner])


def owner_of(name: str) -> str:
    """Return the owner role of a database."""
    return f"{name}_owner"


def database_names(affiliates: Iterable[str] = AFFILIATES) -> list[str]:
    """Return the databases of the product: the processes' and one per affiliate."""
    return [*DATABASES, *affiliates]


async def provision(access: Roles, names: Iterable[str]) -> None:
    """Create the roles and databases that are missing and migrate all; harmless when repeated."""
    wanted = list(names)
    await create_roles(access, wanted)
    connection = await asyncpg.connect(access.admin_dsn)
    try:
        for name in wanted:
            await create_database(connection, name, name)
    finally:
        await connection.close()
    await asyncio.gather(*(migrate_one(access, name, name) for name in wanted))


async def create_roles(access: Roles, names: Iterable[str]) -> None:
    """Create the two roles of each name, or set their password to the one we keep."""
    connection = await asyncpg.connect(access.admin_dsn)
    try:
        present = {r["rolname"] for r in await connection.fetch("SELECT rolname FROM pg_roles")}
        for role in (role for name in names for role in (name, owner_of(name))):
            verb = "ALTER" if role in present else "CREATE"
            password = access.password(role).replace("'", "''")
            await connection.execute(f"{verb} ROLE {quoted(role)} LOGIN PASSWORD '{password}'")
    finally:
        await connection.close()


async def create_database(connection: asyncpg.Connection, name: str, database: str) -> None:
    """Create one database for the roles of `name`, closed to PUBLIC, when it is missing."""
    if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
        await connection.execute(f"CREATE DATABASE {quoted(database)} OWNER {quoted(owner_of(name))}")
    await close_to_public(connection, name, database)


async def close_to_public(connection: asyncpg.Connection, name: str, database: str) -> None:
    """Let only the owner and the process role of `name` connect (CREATE DATABASE copies no grants)."""
    await connection.execute(f"REVOKE ALL ON DATABASE {quoted(database)} FROM PUBLIC")
    await connection.execute(f"GRANT CONNECT ON DATABASE {quoted(database)} TO {quoted(name)}")


async def migrate_one(access: Roles, name: str, database: str) -> list[str]:
    """Apply what is pending in one database; return the versions applied."""
    return await migrate(access.owner_dsn(name, database), package_of(name), name)


def quoted(identifier: str) -> str:
    """Return an SQL identifier in double quotes."""
    return '"' + identifier.replace('"', '""') + '"'

"""Forward-only migrations in dbmate's file format, one advisory lock per database, checksums kept.

Files: `<package>/sql/migrations/NNNN_name.sql`, first line `-- migrate:up`. Each runs in one transaction.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

PACKAGES = {
    "consent": "services.consent",
    "keyring": "services.keyring",
    "audit": "services.audit",
    "retention": "services.retention",
    "notices": "services.propagator.notices",
    "console": "services.console",
}
AFFILIATE_PACKAGE = "services.propagator"
_LOCK = 7_318_402


class DriftError(Exception):
    """A migration that was applied has been edited since. Restore the file; write a new migration instead."""


@dataclass(frozen=True)
class Migration:
    """One numbered file: version (its number), name, SQL text and checksum."""

    version: str
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def package_of(database: str) -> str:
    """Return the package that owns a database's schema; every other name is an affiliate's."""
    return PACKAGES.get(database, AFFILIATE_PACKAGE)


def load(package: str) -> list[Migration]:
    """Return the migrations of a package in order of their numbers."""
    folder = files(package).joinpath("sql/migrations")
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [_parse(f.name, f.read_text(encoding="utf-8")) for f in found]


def _parse(filename: str, text: str) -> Migration:
    version, _, name = filename.removesuffix(".sql").partition("_")
    return Migration(version, name, text.removeprefix("-- migrate:up").strip())


async def pending(connection: asyncpg.Connection, migrations: list[Migration]) -> list[Migration]:
    """Return the migrations not applied yet; raise DriftError when an applied one was edited."""
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations "
        "(version text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    rows = await connection.fetch("SELECT version, checksum FROM schema_migrations")
    applied: dict[str, str] = {row["version"]: row["checksum"] for row in rows}
    for m in migrations:
        if m.version in applied and applied[m.version] != m.checksum:
            raise DriftError(f"migration {m.version}_{m.name} was edited after it was applied")
    return [m for m in migrations if m.version not in applied]


async def migrate(owner_dsn: str, package: str, role: str) -> list[str]:
    """Apply what is pending as the owner; return the versions applied. `{role}` in a file is the process role."""
    connection = await asyncpg.connect(owner_dsn)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        todo = await pending(connection, load(package))
        for m in todo:
            await _apply(connection, m, role)
        return [m.version for m in todo]
    finally:
        await connection.close()


async def _apply(connection: asyncpg.Connection, m: Migration, role: str) -> None:
    async with connection.transaction():
        await connection.execute(m.sql.replace("{role}", f'"{role}"'))
        await connection.execute(
            "INSERT INTO schema_migrations (version, checksum) VALUES ($1, $2)",
            m.version,
            m.checksum,
        )

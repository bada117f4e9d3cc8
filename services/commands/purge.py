"""Ends at once what PostgreSQL would keep of deleted rows for a while: old row versions, and the WAL that wrote them.

VACUUM alone leaves the bytes of a removed row in its page until something overwrites them; VACUUM FULL writes the table
anew. A WAL segment goes at the second checkpoint after it is full, so the present one is ended first.
"""

from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import asyncpg

from services.devstack.postgres import ADMIN
from services.runtime.settings import Settings

_HELD: Final = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
_KEPT: Final = frozenset({"schema_migrations"})


async def purge(settings: Settings) -> int:
    """Rewrite every table of every database, then end and drop the WAL; return the number of tables.

    Raises MissingSettingsError without a superuser, asyncpg.PostgresError, OSError.
    """
    admin = admin_dsn(settings)
    done = 0
    for dsn in settings.owner_dsns.values():
        done += await _rewrite(dsn.get_secret_value())
    connection = await asyncpg.connect(admin)
    try:
        for statement in ("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT", "CHECKPOINT"):
            await connection.execute(statement)
    finally:
        await connection.close()
    return done


async def _rewrite(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        tables = [row["relname"] for row in await connection.fetch(_HELD) if row["relname"] not in _KEPT]
        for table in tables:
            await connection.execute(f'VACUUM (FULL) "{table}"')
    finally:
        await connection.close()
    return len(tables)


def admin_dsn(settings: Settings) -> str:
    """Return the superuser's DSN: the setting, or an embedded system's."""
    password = settings.data_dir / "secrets" / "postgres_password"
    if settings.admin_dsn is None and password.is_file():
        return _embedded(settings, password)
    return settings.require("admin_dsn").secret("admin_dsn")


def _embedded(settings: Settings, password: Path) -> str:
    place = urlsplit(next(iter(settings.owner_dsns.values())).get_secret_value())
    return f"postgresql://{ADMIN}:{quote(password.read_text().strip())}@{place.hostname}:{place.port}/postgres"

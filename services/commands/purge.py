"""Ends at once what PostgreSQL would keep of deleted rows for a while: old row versions, statistics, and the WAL.

VACUUM alone leaves the bytes of a removed row in its page until something overwrites them; VACUUM FULL writes the table
anew, but carries over every row version that a transaction from before could still see. So those are waited for first.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import asyncpg

from services.devstack.postgres import ADMIN
from services.devstack.provision import quoted
from services.runtime.settings import Settings

WAIT_S: Final = 60.0
LOCK_MS: Final = 10_000
"""While a rewrite waits for its lock everybody behind it waits too."""
POLL_S: Final = 0.1
_KEPT: Final = frozenset({"schema_migrations"})
_TABLES: Final = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
_UNSAMPLED: Final = """
SELECT pg_clear_attribute_stats('public', c.relname, a.attname, false)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND a.attstattarget = 0
"""
_HOLDERS: Final = """
SELECT coalesce(nullif(application_name, ''), backend_type) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND (datname = $1 OR datname IS NULL)
  AND greatest(age(backend_xid), age(backend_xmin)) > age($2::xid)
UNION ALL SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts
WHERE database = $1 AND age(transaction) > age($2::xid)
UNION ALL SELECT 'replication slot ' || slot_name FROM pg_replication_slots
WHERE greatest(age(xmin), age(catalog_xmin)) > age($2::xid)
"""
_WAL_BEFORE: Final = """
SELECT count(*) FROM pg_ls_waldir(), pg_control_checkpoint() WHERE name ~ '^[0-9A-F]{24}$' AND name < redo_wal_file
"""
_SLOTS: Final = "SELECT slot_name FROM pg_replication_slots WHERE restart_lsn < (pg_control_checkpoint()).redo_lsn"


class HeldError(Exception):
    """A transaction from before keeps deleted rows of a database readable; nothing of that database was rewritten."""

    def __init__(self, database: str, holders: list[str]) -> None:
        super().__init__(f"{database}: {', '.join(sorted(set(holders)))}")


@dataclass
class Purged:
    """How many tables were written anew, and why WAL from before may still be there (nothing: it is gone)."""

    tables: int
    wal_kept: list[str]


async def purge(settings: Settings, wait_s: float = WAIT_S) -> Purged:
    """Rewrite every table of every database, then end and drop the WAL.

    Raises MissingSettingsError without a superuser, HeldError, asyncpg.PostgresError (a lock is not had), OSError.
    """
    admin = await asyncpg.connect(_admin(settings))
    try:
        dsns = [dsn.get_secret_value() for dsn in settings.owner_dsns.values()]
        tables = sum([await _rewrite(admin, dsn, wait_s) for dsn in dsns])
        return Purged(tables, await _drop_wal(admin))
    finally:
        await admin.close()


async def _rewrite(admin: asyncpg.Connection, dsn: str, wait_s: float) -> int:
    """Write the tables and the statistics anew once nobody can see what was deleted before now."""
    connection = await asyncpg.connect(dsn, server_settings={"lock_timeout": str(LOCK_MS)})
    try:
        await connection.execute(_UNSAMPLED)
        await _unseen(admin, unquote(urlsplit(dsn).path.lstrip("/")), wait_s)
        tables = [row["relname"] for row in await connection.fetch(_TABLES) if row["relname"] not in _KEPT]
        for table in (*(f"public.{quoted(table)}" for table in tables), "pg_catalog.pg_statistic"):
            await connection.execute(f"VACUUM (FULL) {table}")
    finally:
        await connection.close()
    return len(tables)


async def _unseen(admin: asyncpg.Connection, database: str, wait_s: float) -> None:
    """Wait until every transaction and snapshot from before now has ended. Raises HeldError after `wait_s`."""
    mark = await admin.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::xid")
    end = time.monotonic() + wait_s
    while holders := [row[0] for row in await admin.fetch(_HOLDERS, database, mark)]:
        if time.monotonic() >= end:
            raise HeldError(database, holders)
        await asyncio.sleep(POLL_S)


async def _drop_wal(admin: asyncpg.Connection) -> list[str]:
    """End the present segment; the checkpoint removes what is before it, and the tables' old files. Say what stays."""
    await admin.execute("SELECT pg_switch_wal()")
    await admin.execute("CHECKPOINT")
    kept = []
    if before := await admin.fetchval(_WAL_BEFORE):
        slots = ", ".join(row["slot_name"] for row in await admin.fetch(_SLOTS))
        kept.append(f"{before} WAL segments are kept by {f'replication slots: {slots}' if slots else _RETAINED}")
    if await admin.fetchval("SHOW wal_recycle") == "on":
        kept.append("wal_recycle is on: removed segments stay under new names, unwiped, until they are written over")
    return kept


_RETAINED: Final = "wal_keep_size or by an archive_command that has not taken them"


def _admin(settings: Settings) -> str:
    """Return the superuser's DSN: the setting, or an embedded system's."""
    password = settings.data_dir / "secrets" / "postgres_password"
    if settings.admin_dsn is None and password.is_file():
        return _embedded(settings, password)
    return settings.require("admin_dsn").secret("admin_dsn")


def _embedded(settings: Settings, password: Path) -> str:
    place = urlsplit(next(iter(settings.owner_dsns.values())).get_secret_value())
    return f"postgresql://{ADMIN}:{quote(password.read_text().strip())}@{place.hostname}:{place.port}/postgres"

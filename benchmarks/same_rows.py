"""The rows that requests wrote, taken out of the database by request, and one statement that writes them again."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
import orjson

Owners = Mapping[str, str]
"""table -> the SQL expression (over its row `t`) that says whose a row is."""
OF_A_SIGN_UP: Final[Owners] = {
    "member": "t.member_ref",
    "profile": "t.member_ref",
    "profile_history": "t.member_ref",
    "consent": "t.member_ref",
    "held": "t.member_ref",
    "change": "t.member_ref",
    "delivery": "(SELECT c.member_ref FROM change c WHERE c.change_id = t.change_id)",
    "disclosure": "t.member_ref",
    "idempotency": "(t.body->>'member_ref')::uuid",
    "outbox": "t.aggregateid::uuid",
}
IN_A_CHANGE: Final = "(SELECT c.member_ref FROM change c WHERE c.change_id = t.change_id AND c.seq = 2)"
OF_A_CORRECTION: Final[Owners] = {
    "member": "t.member_ref",
    "held": "t.member_ref",
    "change": "CASE t.seq WHEN 2 THEN t.member_ref END",
    "delivery": IN_A_CHANGE,
    "disclosure": IN_A_CHANGE,
    "outbox": "CASE t.headers->>'ce_sequence' WHEN '2' THEN t.aggregateid::uuid END",
}
KEYS: Final = {"member": ("member_ref",), "held": ("member_ref", "recipient")}
"""What a correction changes in place, and by which columns it is found."""
COLUMNS: Final = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = $1 AND is_identity = 'NO' AND is_generated = 'NEVER'
ORDER BY ordinal_position
"""
TABLES: Final = """
SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name <> 'consumer_offset'
"""
MEMBER_KEY: Final = """
INSERT INTO member_key SELECT * FROM jsonb_populate_record(NULL::member_key, $1)
"""


class MissedRowsError(Exception):
    """Requests wrote rows that the list of tables does not know: the bound would write fewer."""


async def counts(connection: asyncpg.Connection) -> dict[str, int]:
    """Return how many rows each table has."""
    names = [row["table_name"] for row in await connection.fetch(TABLES)]
    return {name: await connection.fetchval(f'SELECT count(*) FROM "{name}"') for name in names}


async def taken(connection: asyncpg.Connection, owners: Owners, refs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of these members: reference -> table -> rows. A row to be published is as before that."""
    found: dict[str, dict[str, Any]] = {ref: {} for ref in refs}
    for table, owner in owners.items():
        row = "to_jsonb(t) - 'published_at'" if table == "outbox" else "to_jsonb(t)"
        query = (
            f"SELECT o.of, jsonb_agg({row})::text AS rows FROM {table} t CROSS JOIN LATERAL (SELECT {owner} AS of) o"
        )
        for one in await connection.fetch(f"{query} WHERE o.of = ANY($1::uuid[]) GROUP BY 1", refs):
            found[str(one["of"])][table] = orjson.loads(one["rows"])
    return found


def check(before: Mapping[str, int], after: Mapping[str, int], found: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise MissedRowsError unless the rows found are all that was added."""
    added = {table: after[table] - count for table, count in before.items() if after[table] != count}
    taken_out = {table: sum(len(rows.get(table, ())) for rows in found.values()) for table in added}
    if added != taken_out:
        raise MissedRowsError(f"added {added}, found {taken_out}")


async def statement(connection: asyncpg.Connection, owners: Owners, *, in_place: bool) -> str:
    """Return one statement that writes rows given as JSON ($1: table -> rows); `in_place` updates those of KEYS."""
    parts = []
    for table in owners:
        columns = [row["column_name"] for row in await connection.fetch(COLUMNS, table)]
        if table == "outbox":
            columns.remove("published_at")
        parts.append(_update(table, columns) if in_place and table in KEYS else _insert(table, columns))
    ctes = ", ".join(f"w{number} AS ({part})" for number, part in enumerate(parts))
    return f"WITH {ctes} SELECT 1"


def _insert(table: str, columns: Sequence[str]) -> str:
    named = ", ".join(f'"{column}"' for column in columns)
    return f"INSERT INTO {table} ({named}) SELECT {named} FROM {_given(table)}"


def _update(table: str, columns: Sequence[str]) -> str:
    changed = ", ".join(f'"{c}" = r."{c}"' for c in columns if c not in KEYS[table])
    same = " AND ".join(f't."{c}" = r."{c}"' for c in KEYS[table])
    return f"UPDATE {table} t SET {changed} FROM {_given(table)} r WHERE {same}"


def _given(table: str) -> str:
    return f"jsonb_populate_recordset(NULL::{table}, $1::jsonb->'{table}')"

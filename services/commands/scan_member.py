"""What is left of one member, by reference: after an erasure the values are not known any more, so rows are counted.

A reference may stay (watermark, suppression, ledger, log): it is a pseudonym whose key is gone. A value may not.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

import asyncpg
import orjson

from services.commands.scan_forms import BYTES_MIN
from services.runtime.settings import DATABASES, Settings

VALUES: Final = {
    "consent": {"member": ("email", "name", "password_hash", "birth_date", "email_index"), "profile": ("items",)},
    "affiliate": {
        "member": ("email", "name", "password_hash", "signed_up_at", "marketing"),
        "processed_member": ("service", "role", "items"),
    },
}
"""Columns that hold a member's values in clear, by database and table."""
LETTERS_MIN: Final = 3
"""Fewer letters (a role, a title) are found everywhere by chance."""


@dataclass
class Left:
    """What was found under one reference: `key` is present, destroyed or unknown."""

    key: str
    values: dict[str, int]
    suppressed: dict[str, bool]

    @property
    def erased(self) -> bool:
        """Say whether nothing of the member can be read any more and every store knows that it must stay so."""
        return self.key == "destroyed" and not self.values and all(self.suppressed.values())

    def shown(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self) | {"erased": self.erased}


async def look(settings: Settings, ref: str) -> Left:
    """Look the reference up in every database. Raises asyncpg.PostgresError and OSError."""
    left = Left("unknown", {}, {})
    for name, dsn in settings.owner_dsns.items():
        connection = await asyncpg.connect(dsn.get_secret_value())
        try:
            if name == "keyring":
                left.key = await _key(connection, ref)
            tables = VALUES.get(name, {} if name in DATABASES else VALUES["affiliate"])
            for table, columns in tables.items():
                if found := await _filled(connection, table, columns, ref):
                    left.values[f"database {name}: {table}"] = found
            if name not in DATABASES:
                left.suppressed[name] = await _suppressed(connection, ref)
        finally:
            await connection.close()
    return left


async def values_of(settings: Settings, ref: str) -> list[str]:
    """Return the values that consent holds of a member, long enough to search for; none once it is erased."""
    connection = await asyncpg.connect(settings.owner_dsns["consent"].get_secret_value())
    try:
        member = await connection.fetchrow("SELECT email, name, password_hash FROM member WHERE member_ref = $1", ref)
        items = await connection.fetch("SELECT items FROM profile WHERE member_ref = $1", ref)
    finally:
        await connection.close()
    found = [value for value in (member or {}).values() if value]
    for row in items:
        found += [value for value in orjson.loads(row["items"]).values() if isinstance(value, str)]
    return [value for value in dict.fromkeys(found) if len(value) >= LETTERS_MIN and len(value.encode()) >= BYTES_MIN]


async def _key(connection: asyncpg.Connection, ref: str) -> str:
    row = await connection.fetchrow("SELECT wrapped IS NULL AS gone FROM member_key WHERE member_ref = $1", ref)
    return "unknown" if row is None else "destroyed" if row["gone"] else "present"


async def _filled(connection: asyncpg.Connection, table: str, columns: tuple[str, ...], ref: str) -> int:
    any_value = " OR ".join(f"{column} IS NOT NULL" for column in columns)
    query = f"SELECT count(*) FROM {table} WHERE member_ref = $1 AND ({any_value})"  # noqa: S608 - names from above
    return int(await connection.fetchval(query, ref))


async def _suppressed(connection: asyncpg.Connection, ref: str) -> bool:
    return bool(await connection.fetchval("SELECT 1 FROM suppressed WHERE member_ref = $1", ref))

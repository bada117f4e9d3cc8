"""PostgreSQL pools with the codecs we use everywhere: jsonb as Python values, UUID as text."""

from typing import Any, Final

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

Connection = asyncpg.Connection | PoolConnectionProxy
"""A connection of our own, or one a pool lends: what functions with a transaction as argument take."""

DATABASE_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""What a statement may raise when the database is away or refuses: loops that outlive an outage catch exactly these.

`InternalClientError` is what asyncpg says when the connection was cut under a statement that was being sent.
"""

JSON_TYPES: Final = ("json", "jsonb")


async def _prepare(connection: asyncpg.Connection) -> None:
    for name in JSON_TYPES:
        await connection.set_type_codec(
            name,
            encoder=lambda v: orjson.dumps(v).decode(),
            decoder=orjson.loads,
            schema="pg_catalog",
        )
    await connection.set_type_codec("uuid", encoder=str, decoder=str, schema="pg_catalog")


async def _keep(_: asyncpg.Connection) -> None:
    """Leave the session as it is: asyncpg has ended an open transaction, and nothing of ours outlives one.

    asyncpg's own reset is a round trip more for each use.
    """


async def open_pool(dsn: str, *, size: int = 8, application: str = "dongui") -> asyncpg.Pool:
    """Open a pool of at most `size` connections; statement time-out 30 s, lock time-out 5 s."""
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        init=_prepare,
        reset=_keep,
        server_settings=_server_settings(application),
    )


async def connect(dsn: str, *, application: str = "dongui") -> asyncpg.Connection:
    """Open one direct connection (advisory-lock leases need a session of their own)."""
    connection = await asyncpg.connect(dsn, server_settings=_server_settings(application))
    await _prepare(connection)
    return connection


def _server_settings(application: str) -> dict[str, Any]:
    return {"application_name": application, "statement_timeout": "30000", "lock_timeout": "5000"}

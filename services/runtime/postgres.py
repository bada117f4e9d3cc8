"""PostgreSQL pools with the codecs we use everywhere: jsonb as Python values, UUID as text."""

import asyncio
import random
import socket
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import asyncpg
import orjson
import structlog
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

AWAY: Final = (
    asyncpg.OperatorInterventionError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
    OSError,
    TimeoutError,
)
"""What connecting raises while a server is down, starting, full or closed to us: another time it may answer."""
PATIENCE_S: Final = 60.0
PAUSE_S: Final = (0.2, 1.0)
log = structlog.get_logger("postgres")

JSON_TYPES: Final = ("json", "jsonb")
KEEPALIVE: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}
"""Seconds idle, between probes, probes, and milliseconds unacknowledged, after which the other side counts as gone."""
DEFAULT: Final[Mapping[str, str]] = MappingProxyType({})
"""PostgreSQL plans as it likes."""
BY_INDEX: Final = {"enable_seqscan": "off"}
"""For sessions whose statements all have their index (`tests/integration/runtime/test_plans.py`).

A plan is kept as long as its session: made while a table was small, it would read all of it when it has grown.
"""
STEADY: Final = BY_INDEX | {"plan_cache_mode": "force_generic_plan"}
"""For sessions with few statements, always the same: planned once, and not anew for every length of an array."""
LEASE_IDLE_S: Final = 60
"""A session that holds a lease and says nothing this long loses both: its process is frozen, and another may lead."""


async def _prepare(connection: asyncpg.Connection) -> None:
    _watch_peer(connection)
    for name in JSON_TYPES:
        await connection.set_type_codec(
            name,
            encoder=lambda v: orjson.dumps(v).decode(),
            decoder=orjson.loads,
            schema="pg_catalog",
        )
    await connection.set_type_codec("uuid", encoder=str, decoder=str, schema="pg_catalog")


def _watch_peer(connection: asyncpg.Connection) -> None:
    """Notice a server whose machine is gone without a word: asyncpg would wait for its answer for ever."""
    session: Any = connection
    peer: socket.socket = session._transport.get_extra_info("socket")  # noqa: SLF001 - asyncpg has no setting for it
    if peer.family == socket.AF_UNIX:
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):  # not every system has all of them
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _keep(_: asyncpg.Connection) -> None:
    """Leave the session as it is: asyncpg has ended an open transaction, and nothing of ours outlives one.

    asyncpg's own reset is a round trip more for each use.
    """


async def wait_for_pool(
    dsn: str, *, size: int = 8, application: str = "dongui", planner: Mapping[str, str] = DEFAULT
) -> asyncpg.Pool:
    """Open a pool; wait up to `PATIENCE_S` for a server that is away, as it is when everything starts again at once.

    Anything else that is wrong (a password, a name) is raised at once, and so is the last error after that time.
    """
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await open_pool(dsn, size=size, application=application, planner=planner)
        except AWAY as error:
            if time.monotonic() > give_up_at:
                raise
            log.warning("database_away", error=type(error).__name__, application=application)
        await asyncio.sleep(random.uniform(*PAUSE_S))  # noqa: S311


async def open_pool(
    dsn: str, *, size: int = 8, application: str = "dongui", planner: Mapping[str, str] = DEFAULT
) -> asyncpg.Pool:
    """Open a pool of at most `size` connections; statement time-out 30 s, lock time-out 5 s."""
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        init=_prepare,
        reset=_keep,
        server_settings=_server_settings(application, planner),
    )


async def connect(
    dsn: str, *, application: str = "dongui", is_lease: bool = False, planner: Mapping[str, str] = DEFAULT
) -> asyncpg.Connection:
    """Open one direct connection (advisory-lock leases need a session of their own).

    The server ends a lease's session after `LEASE_IDLE_S` seconds of silence: use it more often than that.
    """
    settings = _server_settings(application, planner)
    if is_lease:
        settings["idle_session_timeout"] = str(LEASE_IDLE_S * 1000)
    connection = await asyncpg.connect(dsn, server_settings=settings)
    await _prepare(connection)
    return connection


def _server_settings(application: str, planner: Mapping[str, str]) -> dict[str, Any]:
    """Return the session's settings. The server's half of `KEEPALIVE`: locks of a machine that is gone are let go."""
    return {
        "application_name": application,
        "statement_timeout": "30000",
        "lock_timeout": "5000",
        "tcp_keepalives_idle": str(KEEPALIVE["TCP_KEEPIDLE"]),
        "tcp_keepalives_interval": str(KEEPALIVE["TCP_KEEPINTVL"]),
        "tcp_keepalives_count": str(KEEPALIVE["TCP_KEEPCNT"]),
        "tcp_user_timeout": str(KEEPALIVE["TCP_USER_TIMEOUT"]),
        **planner,
    }

"""How often a name was tried at the sign-in, from one address and from all: names there are not are counted too.

A try counts as wrong before its password is looked at, so tries side by side count like tries in a row.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import asyncpg

from services.console import model
from services.console.model import Tries
from services.console.store import SQL
from services.runtime.postgres import Connection

EVERYWHERE: Final = ""


@dataclass(frozen=True)
class Tried:
    """What is counted: the MAC of a name, and the network address it was tried from."""

    name: bytes
    place: str


async def begin(pool: asyncpg.Pool, tried: Tried, now: datetime) -> Tries | None:
    """Count one more wrong try from this address; None when the name is closed here and may not be tried at all."""
    await pool.execute(SQL["forget_tries"], now - model.FORGOTTEN_AFTER, now - model.KNOWN_FOR)
    async with pool.acquire() as tx, tx.transaction():
        here = await _taken(tx, tried, now)
        if model.closed(here, await _everywhere(tx, tried.name), now):
            return None
        here = here.failed(model.FAILURES_MAX, model.LOCKED_FOR, now)
        await _write(tx, tried, here)
        return here


async def failed(tx: Connection, tried: Tried, now: datetime) -> bool:
    """Count a try that was wrong for all addresses together; say whether the name is closed by it."""
    everywhere = replace(tried, place=EVERYWHERE)
    before = await _taken(tx, everywhere, now)
    after = before.failed(model.FAILURES_EVERYWHERE_MAX, model.LOCKED_EVERYWHERE_FOR, now)
    await _write(tx, everywhere, after)
    return after.locked(now) and not before.locked(now)


async def entered(tx: Connection, tried: Tried, now: datetime) -> None:
    """The try was right: the person is known at this address. What strangers tried elsewhere still counts."""
    await _write(tx, tried, Tries(entered_at=now))


async def forget(tx: Connection, name: bytes) -> None:
    """Forget what was tried with a name: a privacy officer gave the person a new password."""
    await tx.execute(SQL["delete_tries"], name)


async def closed(pool: asyncpg.Pool, names: list[bytes], now: datetime) -> set[bytes]:
    """Return those of the names that are closed at addresses nobody knows."""
    return {bytes(row["name"]) for row in await pool.fetch(SQL["closed_names"], names, now)}


async def _taken(tx: Connection, tried: Tried, now: datetime) -> Tries:
    row = await tx.fetchrow(SQL["take_tries"], tried.name, tried.place, now)
    assert row is not None
    return Tries(**dict(row))


async def _everywhere(tx: Connection, name: bytes) -> Tries:
    row = await tx.fetchrow(SQL["read_tries"], name, EVERYWHERE)
    return Tries(**dict(row)) if row else Tries()


async def _write(tx: Connection, tried: Tried, after: Tries) -> None:
    values = (after.failures, after.locked_until, after.entered_at)
    await tx.execute(SQL["write_tries"], tried.name, tried.place, *values)

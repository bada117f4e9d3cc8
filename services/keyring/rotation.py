"""Rotation of the KEK: every data key is wrapped anew, and nothing it ever sealed is touched.

In batches, each its own statement: stop it anywhere and start it again. A key that is shredded meanwhile stays
shredded, because only the very wrapping that was read is replaced.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import asyncpg

from services.keyring.kek import KekProvider
from services.runtime.queries import Queries

BATCH: Final = 200
AT_ONCE: Final = 8
NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""Before every reference."""


async def counts(pool: asyncpg.Pool) -> dict[str, int]:
    """Return how many data keys each KEK wraps, by its name."""
    rows = await pool.fetch(Queries("services.keyring")["count_by_kek"])
    return {row["kek_id"]: row["keys"] for row in rows}


async def rotate(pool: asyncpg.Pool, kek: KekProvider, *, batch: int = BATCH) -> int:
    """Wrap every data key by the KEK that wraps now; return how many were.

    Raises KekError at the first key that can't be unwrapped; what was done stays done. Goes over the table until a
    whole pass finds nothing: a process that was not restarted yet may still wrap by the old KEK.
    """
    done = 0
    while passed := await _pass(pool, kek, batch):
        done += passed
    return done


async def _pass(pool: asyncpg.Pool, kek: KekProvider, batch: int) -> int:
    sql, done, after = Queries("services.keyring"), 0, NOBODY
    while rows := await pool.fetch(sql["read_other_kek"], kek.key_id, after, batch):
        wrapped = await _rewrapped(kek, rows)
        columns = [r["member_ref"] for r in rows], [r["wrapped"] for r in rows], wrapped
        await pool.execute(sql["rewrap_keys"], *columns, kek.key_id)
        done, after = done + len(rows), rows[-1]["member_ref"]
    return done


async def _rewrapped(kek: KekProvider, rows: Sequence[asyncpg.Record]) -> list[bytes]:
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(row: asyncpg.Record) -> bytes:
        async with at_once:
            return await kek.rewrap(row["wrapped"], row["member_ref"].encode(), row["kek_id"])

    return await asyncio.gather(*map(one, rows))

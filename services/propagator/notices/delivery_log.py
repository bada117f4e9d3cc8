"""What was sent to whom, when, and what came back: each notice with its attempts, bodies with every value masked."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from services.propagator.notices.store import SQL

PAGE: Final = 100


async def listed(
    pool: asyncpg.Pool,
    *,
    recipient: str | None = None,
    ids: Sequence[str] = (),
    state: str | None = None,
    after: int = 0,
) -> dict[str, Any]:
    """Return up to 100 notices behind a cursor in order of arrival: `{"notices": […], "next": cursor or None}`.

    `ids` are notice ids or change ids. `body` and `items` are null until a notice was first opened to be sent.
    """
    rows = await pool.fetch(SQL["log_notices"], recipient, list(ids) or None, state, after, PAGE)
    attempts = await _attempts(pool, [row["cursor"] for row in rows])
    notices = [{**row, "log": attempts.get(row["cursor"], [])} for row in map(dict, rows)]
    return {"notices": notices, "next": rows[-1]["cursor"] if len(rows) == PAGE else None}


async def _attempts(pool: asyncpg.Pool, positions: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in await pool.fetch(SQL["log_attempts"], positions):
        found.setdefault(row["position"], []).append({name: row[name] for name in set(row.keys()) - {"position"}})
    return found

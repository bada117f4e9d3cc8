"""Finds entries: by member, change, type, kind, actor, recipient, stage, clause and time, in order of index, by page.

Whatever is combined, a page costs a few ordered index ranges and no sort of what matches: a member or a change has few
entries; everything else that is filtered by is a short list of facets (0003_search.sql), each an ordered range; an
instant is turned into ranges of indexes first, for entries are appended nearly in order of time.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from services.audit.store import SQL

INDEX_END = 2**63 - 1
RUNS_MAX = 50
"""Entries that came late scatter an instant over runs of slices; beyond this many they are taken as one."""

Run = tuple[int, int]
_FACETS = ("type", "kind", "actor", "recipient", "stage", "clause")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which entries; every field that is None matches all. `start` is inclusive, `end` exclusive.

    `clause` matches its parts too: 5 finds 5.1. `recipient` is the affiliate or third party of a receipt or disclosure.
    """

    member_ref: str | None = None
    change_id: str | None = None
    type: str | None = None
    kind: str | None = None
    actor: str | None = None
    recipient: str | None = None
    stage: str | None = None
    clause: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    def told(self) -> dict[str, str]:
        """Return what was asked for, for the record of the access."""
        found = {name: value for name, value in vars(self).items() if value is not None}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in found.items()}


@dataclass(frozen=True)
class Page:
    """Where to go on: after this index (before it when `newest` first), None from the end; at most `limit`."""

    after: int | None
    limit: int
    newest: bool = False

    @property
    def run(self) -> Run:
        """The indexes that are left."""
        if self.after is None:
            return 0, INDEX_END
        return (0, self.after) if self.newest else (min(self.after + 1, INDEX_END), INDEX_END)


async def entries(pool: asyncpg.Pool, wanted: Filter, page: Page) -> list[asyncpg.Record]:
    """Return a page of entries in order of index, the newest first when asked so."""
    facets = await _facets(pool, wanted)
    if facets == []:
        return []
    found: list[asyncpg.Record] = []
    for run in await _runs(pool, wanted, page):
        rest = replace(page, limit=page.limit - len(found))
        found += await _in_run(pool, wanted, rest, facets, run)
        if len(found) >= page.limit:
            break
    return found


async def every(pool: asyncpg.Pool, wanted: Filter, until: int, batch: int) -> AsyncIterator[list[asyncpg.Record]]:
    """Yield all entries below an index, in batches."""
    after: int | None = None
    while rows := await entries(pool, wanted, Page(after, batch)):
        good = [row for row in rows if row["index"] < until]
        if good:
            yield good
        if len(good) < len(rows):
            return
        after = rows[-1]["index"]


async def _facets(pool: asyncpg.Pool, wanted: Filter) -> list[int] | None:
    """Return the facets that match, None when nothing of them was asked for."""
    values = [getattr(wanted, name) for name in _FACETS]
    if not any(values):
        return None
    return [row["facet"] for row in await pool.fetch(SQL["find_facets"], *values)]


async def _runs(pool: asyncpg.Pool, wanted: Filter, page: Page) -> list[Run]:
    """Return the ranges of indexes that may hold what is wanted, in the order in which they are to be read."""
    first, until = page.run
    if wanted.member_ref or wanted.change_id or (wanted.start is None and wanted.end is None):
        return [page.run]
    rows = await pool.fetch(SQL["find_runs"], wanted.start, wanted.end)
    found = [(row["first"], row["until"]) for row in rows]
    if len(found) > RUNS_MAX:
        found = [(found[0][0], INDEX_END)]
    cut = [(max(start, first), min(end, until)) for start, end in found]
    kept = [run for run in cut if run[0] < run[1]]
    return kept[::-1] if page.newest else kept


async def _in_run(
    pool: asyncpg.Pool, wanted: Filter, page: Page, facets: Sequence[int] | None, run: Run
) -> list[asyncpg.Record]:
    values: list[object] = [*run, page.limit]
    order = "DESC" if page.newest else "ASC"
    conditions = ["index >= $1", "index < $2"]
    for name, condition in (
        ("member_ref", "member_ref = {}::uuid"),
        ("change_id", "change_id = {}::uuid"),
        ("start", "at >= {}::timestamptz"),
        ("end", "at < {}::timestamptz"),
    ):
        value = getattr(wanted, name)
        if value is not None:
            values.append(value)
            conditions.append(condition.format(f"${len(values)}"))
    tail = f"ORDER BY index {order} LIMIT $3"
    if facets is None:
        found = SQL["find_indexes"].format(" AND ".join(conditions), tail)
    else:
        # Few entries are filtered; many are read as one ordered range per facet, and merged.
        values.append(list(facets))
        name = "find_of_facets" if wanted.member_ref or wanted.change_id else "find_by_facet"
        found = SQL[name].format(" AND ".join(conditions), tail, f"${len(values)}")
    return await pool.fetch(SQL["list_entries"].format(found, order), *values)

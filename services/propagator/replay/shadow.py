"""A store built beside the live one by the same applier, and the two compared row by row.

What is compared is all that the records determine: not when something was applied, noticed or suppressed.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from services.propagator.store import SQL

PAGE: Final = 2000
TABLES: Final[tuple[str, ...]] = ("member", "processed_member", "watermark", "gap", "suppressed")
VISIBLE: Final[tuple[str, ...]] = ("member", "processed_member")
"""What a store made from the ledger has in common with one that was fed: told less, it ends in the same rows."""
SHOWN_MAX: Final = 100
BEFORE_ALL: Final = "00000000-0000-0000-0000-000000000000"
"""A reference that comes before every member's."""


@dataclass(frozen=True)
class Difference:
    """One member whose rows are not the same in one table. `kind`: missing (in the live store), extra, differs."""

    table: str
    member_ref: str
    kind: str


@dataclass
class Comparison:
    """What a comparison found: rows compared, differences, and members the live stream changed meanwhile."""

    rows: int = 0
    moved: int = 0
    count: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, difference: Difference) -> None:
        """Count a difference, and keep it while there are few."""
        self.count += 1
        if len(self.differences) < SHOWN_MAX:
            self.differences.append(difference)


async def copy_suppressions(live: asyncpg.Pool, shadow: asyncpg.Pool) -> int:
    """Suppress in the shadow whom the live store suppresses, before anything is applied; return how many."""
    rows = await live.fetch("SELECT member_ref, at FROM suppressed")
    await shadow.execute(SQL["suppress"], [r["member_ref"] for r in rows], [r["at"] for r in rows])
    return len(rows)


async def compare(
    live: asyncpg.Pool, shadow: asyncpg.Pool, tables: Iterable[str] = TABLES, *, only: str | None = None
) -> Comparison:
    """Compare two stores, every row of every table or those of one member.

    A member the live store knows more of has moved on meanwhile: counted, and no difference.
    """
    found = Comparison()
    moved: set[str] = set()
    for table in tables:
        pages = _pages(live, shadow, table, only)
        async for ours, theirs in pages:
            found.rows += len(ours)
            for ref in sorted(ours.keys() | theirs.keys()):
                if ours.get(ref) != theirs.get(ref) and not await _moved(live, shadow, ref, moved):
                    found.add(Difference(table, ref, _kind(ours.get(ref), theirs.get(ref))))
    found.moved = len(moved)
    return found


def _kind(live: Any, shadow: Any) -> str:
    return "missing" if live is None else "extra" if shadow is None else "differs"


async def _moved(live: asyncpg.Pool, shadow: asyncpg.Pool, ref: str, moved: set[str]) -> bool:
    if ref not in moved:
        seqs = [
            await pool.fetchval("SELECT seq FROM watermark WHERE member_ref = $1", ref) or 0 for pool in (live, shadow)
        ]
        if seqs[0] > seqs[1]:
            moved.add(ref)
    return ref in moved


async def _pages(
    live: asyncpg.Pool, shadow: asyncpg.Pool, table: str, only: str | None
) -> AsyncIterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the rows of both stores by member, the same range of references at a time."""
    if only is not None:
        yield await _rows(live, table, [only]), await _rows(shadow, table, [only])
        return
    after = BEFORE_ALL
    while True:
        refs = sorted({ref for pool in (live, shadow) for ref in await _refs(pool, table, after)})[:PAGE]
        if not refs:
            return
        yield await _rows(live, table, refs), await _rows(shadow, table, refs)
        after = refs[-1]


async def _refs(pool: asyncpg.Pool, table: str, after: str) -> list[str]:
    rows = await pool.fetch(SQL[f"shadow_refs_{table}"], after, PAGE)
    return [row["member_ref"] for row in rows]


async def _rows(pool: asyncpg.Pool, table: str, refs: list[str]) -> dict[str, Any]:
    rows = await pool.fetch(SQL[f"shadow_rows_{table}"], refs)
    return {row["member_ref"]: row["told"] for row in rows}

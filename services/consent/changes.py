"""Where a change is now: changes, deliveries and lag, as `/v1/changes`, `member show` and `status` tell them."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from schemas.receipts import ANSWERED
from services.consent.handlers import Consent
from services.consent.refusals import not_found
from services.consent.store import SQL
from services.runtime.problem import Problem

PAGE: Final = 200


async def shown(consent: Consent, change_id: str) -> tuple[str, dict[str, Any]]:
    """Return (member_ref, the answer of GET /v1/changes/{id}); 404 for an unknown change."""
    row = await consent.pool.fetchrow(SQL["read_change"], change_id)
    if row is None:
        raise change_not_found()
    (found,) = await _with_recipients(consent, [row])
    return row["member_ref"], found


async def refuse_other_member(consent: Consent, change_id: str, member_ref: str) -> None:
    """Raise Problem 404 unless the change is this member's."""
    row = await consent.pool.fetchrow(SQL["read_change"], change_id)
    if row is None or row["member_ref"] != member_ref:
        raise change_not_found()


async def of_member(consent: Consent, member_ref: str, after: int) -> dict[str, Any]:
    """Return a member's changes in order, each with its recipients, up to 200 behind a cursor; 404 for nobody."""
    rows = await consent.pool.fetch(SQL["list_changes"], member_ref, after, PAGE)
    if not rows and not after:
        raise not_found()
    found = await _with_recipients(consent, rows)
    return {"changes": found, "next": rows[-1]["seq"] if len(rows) == PAGE else None}


async def lag(consent: Consent) -> list[dict[str, Any]]:
    """Return per recipient what is not answered: changes, seconds behind, oldest unapplied withdrawal."""
    return [dict(row) for row in await consent.pool.fetch(SQL["lag"])]


async def _with_recipients(consent: Consent, rows: Sequence[asyncpg.Record]) -> list[dict[str, Any]]:
    """One statement for all of them: whoever has many changes is no dearer to ask about."""
    of: dict[str, list[asyncpg.Record]] = {row["change_id"]: [] for row in rows}
    for delivery in await consent.pool.fetch(SQL["list_deliveries"], list(of)):
        of[delivery["change_id"]].append(delivery)
    return [_shown(row, of[row["change_id"]]) for row in rows]


def _shown(row: asyncpg.Record, deliveries: Sequence[asyncpg.Record]) -> dict[str, Any]:
    answered = all(d["stage"] in ANSWERED and not d["overtaken"] for d in deliveries)
    return {
        "change_id": row["change_id"],
        "change": row["name"],
        "seq": row["seq"],
        "accepted_at": row["accepted_at"],
        "complete": answered if deliveries else row["sealed_at"] is not None,
        "sealed_at": row["sealed_at"],
        "leaf_index": row["leaf_index"],
        "recipients": [_recipient(d) for d in deliveries],
    }


def _recipient(row: asyncpg.Record) -> dict[str, Any]:
    told = {
        "id": row["recipient"],
        "kind": row["kind"],
        "stage": row["stage"],
        "at": row["at"],
        "relayed_at": row["relayed_at"],
    }
    return told | {k: row[k] for k in ("outcome", "reason") if row[k] is not None}


def change_not_found() -> Problem:
    """The answer for a change that is not there or not the caller's."""
    return Problem(404, "change_not_found", "변경을 찾을 수 없습니다.", "There is no such change.")

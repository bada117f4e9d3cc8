"""Open duties: opened and closed in the transaction of what they are about, listed for staff with a countdown."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import asyncpg

from services.consent.store import SQL
from services.policy.calendar import working_days
from services.policy.duties import all_duties
from services.runtime.clock import KST
from services.runtime.postgres import Connection

if TYPE_CHECKING:  # the handlers open duties through this module
    from services.consent.handlers import Consent

PAGE = 200
STATES = ("open", "warning", "late")


async def open_duty(tx: Connection, kind: str, subject: str, at: datetime, *, member_ref: str | None = None) -> date:
    """Open a duty of a kind for a subject (a UUID); return its last day (KST). Opening it again changes nothing."""
    return await open_duties(tx, kind, {subject: member_ref}, at)


async def open_duties(tx: Connection, kind: str, subjects: Mapping[str, str | None], at: datetime) -> date:
    """Open a duty of one kind for each subject (a UUID) of a member; return their last day (KST)."""
    duty = all_duties()[kind]
    due_on = duty.due_on(at)
    if subjects:
        row = (list(subjects), list(subjects.values()), at, duty.warn_on(at), due_on)
        await tx.execute(SQL["open_duties"], kind, *row)
    return due_on


async def close_duty(tx: Connection, kind: str, subject: str, at: datetime, outcome: str) -> None:
    """Close a duty with a coded outcome; closing one that is not open changes nothing."""
    await close_duties(tx, kind, {subject: outcome}, at)


async def close_duties(tx: Connection, kind: str, outcomes: Mapping[str, str], at: datetime) -> None:
    """Close the duties of one kind for these subjects, each with its coded outcome."""
    if outcomes:
        await tx.execute(SQL["close_duties"], kind, list(outcomes), at, list(outcomes.values()))


async def listed(consent: "Consent", *, late: bool, after: int, restricted: bool = False) -> dict[str, Any]:
    """Return open duties in order of opening, up to 200 behind a cursor: `{"duties": [...], "next"}`.

    `state` is `open`, `warning` (the warning day is here) or `late` (the last day is over), by the day in KST.
    `restricted` shows those of clause 3.3 too.
    """
    hidden = [] if restricted else [kind for kind, duty in all_duties().items() if duty.restricted]
    today = consent.clock().astimezone(KST).date()
    rows = await consent.pool.fetch(SQL["list_duties"], after, today if late else None, PAGE, hidden)
    duties = [_shown(row, today) for row in rows]
    return {"duties": duties, "next": rows[-1]["position"] if len(rows) == PAGE else None}


async def census(consent: "Consent") -> dict[str, int]:
    """Return how many duties are open in all, and by state: those of clause 3.3 are counted and not told apart."""
    rows = await consent.pool.fetch(SQL["count_duties"], consent.clock().astimezone(KST).date())
    by_state = {state: sum(row[state] for row in rows) for state in STATES}
    return {"all": sum(by_state.values()), **by_state}


def _shown(row: asyncpg.Record, today: date) -> dict[str, Any]:
    duty = all_duties()[row["kind"]]
    state = "late" if today > row["due_on"] else "warning" if today >= row["warn_on"] else "open"
    told = {name: row[name] for name in ("kind", "subject", "member_ref", "opened_at", "due_on")}
    cited = {"clause": duty.clause, "statute": duty.statute, "what": duty.ko}
    left = {"days_left": (row["due_on"] - today).days, "working_days_left": working_days(today, row["due_on"])}
    return {**told, **cited, "state": state, **left}

"""Answers that the ledger still waits for, of changes that the store shows: told again.

A receipt may be lost on its way back, or was never made: a replay sends none unless it is asked to. Whatever comes
later of such a change is a duplicate here and answers nothing, so it would stay open for ever, and a destruction that
waits for it would end as forced (clause 7.1).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from schemas.receipts import Stage
from services.propagator import model, store
from services.propagator.answers import receipt, receipt_id
from services.propagator.handlers import Propagator
from services.propagator.reconcile import drift, rebuild
from services.propagator.reconcile.ledger import MEMBERS_MAX, Holding, Ledger, Owed
from services.propagator.store import SQL
from services.runtime.outbox import Record

SEEN: Final[tuple[Stage, ...]] = ("applied", "superseded", "skipped_destroyed")
"""What a store may have answered to what it has seen."""


async def tell_again(propagator: Propagator, ledger: Ledger, grace: timedelta) -> int:
    """Put the missing answers into the outbox and return how many; again on the same day, there is nothing to tell.

    Raises what a cycle raises.
    """
    told, after = 0, None
    while True:
        owed, after = await ledger.unanswered(after)
        before = propagator.clock() - grace
        refs = await _seen(propagator, [(ref, change) for ref, change in owed if change.at <= before])
        for start in range(0, len(refs), MEMBERS_MAX):
            told += await _tell(propagator, await ledger.members(refs[start : start + MEMBERS_MAX]), before)
        if after is None:
            break
    if told:
        propagator.nudge()
    return told


async def _seen(propagator: Propagator, owed: Sequence[tuple[str, Owed]]) -> list[str]:
    """Return the members of whom the store has seen something that is owed: most only wait for what is on its way."""
    if not owed:
        return []
    states = (await store.seen(propagator.pool, [ref for ref, _ in owed])).states
    return sorted({ref for ref, change in owed if model.is_duplicate(states[ref], change.seq)})


async def _tell(propagator: Propagator, holdings: Sequence[Holding], before: datetime) -> int:
    now, answers = propagator.clock(), []
    for holding in await _standing(propagator, holdings, now):
        owed = [change for change in holding.owed if change.at <= before and change.seq <= holding.seq]
        answers += [(_again(propagator, holding, change, now), _first(propagator, change)) for change in owed]
    unsaid = [a for a in await _unsaid(propagator, answers) if propagator.leaves(a)]
    await store.write(propagator.pool, [], unsaid, now)
    return len(unsaid)


async def _standing(propagator: Propagator, holdings: Sequence[Holding], now: datetime) -> list[Holding]:
    """Return those whose rows are the ledger's, with its last change for the last they have seen.

    A store that is ahead of a restored ledger saw other changes under the numbers that the ledger gives out again.
    """
    refs = [h.member_ref for h in holdings]
    wanted = await rebuild.expected(propagator, holdings, now)
    async with propagator.pool.acquire() as tx, tx.transaction(isolation="repeatable_read", readonly=True):
        actual, rows = await store.read(tx, refs), await rebuild.visible(tx, refs)
    states = ((h, wanted[h.member_ref], actual[h.member_ref], rows[h.member_ref]) for h in holdings)
    return [h for h, want, have, seen in states if have.seq == h.seq and drift.explain(h, want, have, seen) is None]


async def _unsaid(propagator: Propagator, answers: Sequence[tuple[Record, Sequence[str]]]) -> list[Record]:
    """Leave out what was told again today, and what the first answer to has not left the outbox yet."""
    asked = [id_ for answer, first in answers for id_ in (answer.id, *first)]
    rows = await propagator.pool.fetch(SQL["reconcile_said"], asked)
    waits = {row["id"]: row["waits"] for row in rows}
    return [answer for answer, first in answers if answer.id not in waits and not any(map(waits.get, first))]


def _first(propagator: Propagator, change: Owed) -> list[str]:
    return [receipt_id(propagator.affiliate, change.change_id, stage) for stage in SEEN]


def _again(propagator: Propagator, holding: Holding, change: Owed, now: datetime) -> Record:
    known = (change.change_id, holding.member_ref, change.seq)
    made = receipt(propagator.affiliate, *known, holding.stage_of(change), now, again=True)
    assert made is not None  # the ledger knows every change by its id
    return made

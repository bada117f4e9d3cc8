"""Makes members of a store anew from the ledger's records, whatever their rows say now: the targeted replay.

The watermark never goes back, a suppressed member stays suppressed, and a member the live stream has taken further
than the ledger was read is left alone. Answers that were owed up to there leave in the same transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import asyncpg

from services.propagator import model, store
from services.propagator.answers import receipt
from services.propagator.handlers import Propagator
from services.propagator.model import MemberRow, ProcessedRow, State
from services.propagator.reconcile.drift import Rows
from services.propagator.reconcile.ledger import Holding
from services.propagator.store import SQL, Database
from services.runtime.outbox import Record


async def expected(propagator: Propagator, holdings: Sequence[Holding], now: datetime) -> dict[str, State]:
    """Return the state that each member's records end in, from nothing. Raises KeyServiceError, UnreadableError."""
    states = {h.member_ref: State(h.member_ref) for h in holdings}
    for arrival in await propagator.said([raw for h in holdings for raw in h.records]):
        states[arrival.member_ref], _ = model.receive(states[arrival.member_ref], arrival, now)
    return states


async def visible(tx: Database, refs: Sequence[str]) -> dict[str, Rows]:
    """Return the rows that stand in the store, whatever its watermarks say."""
    rows = await tx.fetch(SQL["reconcile_members"], refs)
    members = {r["member_ref"]: MemberRow(**{**r, "suspended": _parts(r)}) for r in rows}
    rows = await tx.fetch(SQL["reconcile_processed"], refs)
    processed = {r["member_ref"]: ProcessedRow(**{**r, "suspended": _parts(r)}) for r in rows}
    return {ref: (members.get(ref), processed.get(ref)) for ref in refs}


def _parts(row: asyncpg.Record) -> tuple[str, ...] | None:
    return None if row["suspended"] is None else tuple(row["suspended"])


async def rebuild(propagator: Propagator, holdings: Sequence[Holding], states: Mapping[str, State]) -> list[str]:
    """Write these members anew in one transaction; return those written. Raises database errors."""
    now = propagator.clock()
    known = {h.member_ref: h for h in holdings if h.seq}
    async with propagator.pool.acquire() as tx, tx.transaction():
        found = await store.lock(tx, known) if known else {}
        behind = [ref for ref, state in found.items() if state.seq <= known[ref].seq]
        written = [_after(found[ref], states[ref], known[ref].seq) for ref in behind]
        unknown = [h.member_ref for h in holdings if not h.seq]
        answers = [a for ref in behind for a in _answers(propagator.affiliate, known[ref], found[ref], now)]
        await store.rewrite(tx, written, unknown, [a for a in answers if propagator.leaves(a)], now)
    propagator.nudge()
    return behind + unknown


def _after(before: State, made: State, seq: int) -> State:
    state = model.suppress(made) if before.suppressed else made
    return replace(state, member_ref=before.member_ref, seq=max(before.seq, seq), gaps=())


def _answers(affiliate: str, holding: Holding, before: State, now: datetime) -> list[Record]:
    """Answer what the store had not seen."""
    made = [
        receipt(affiliate, owed.change_id, holding.member_ref, owed.seq, holding.stage_of(owed), now)
        for owed in holding.owed
        if owed.seq <= holding.seq and not model.is_duplicate(before, owed.seq)
    ]
    return [record for record in made if record is not None]

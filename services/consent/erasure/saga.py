"""Advances every case that is due, one move at a time, under the case's lock: a page of cases in one transaction.

Together they cost a few round trips where each alone costs forty, and what they send is applied together. Whoever is
killed anywhere leaves a case at its last stored state, and the move is made again: the shred too, which happens in
another database before the transaction that says so, and is as destroyed the second time as the first.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from prometheus_client import Counter, Gauge

from schemas.receipts import CODED_VALUE
from services.consent import duties, register, retained
from services.consent.erasure import model, selection, store, suppressions, unsent
from services.consent.erasure.model import Case, Gate, Move
from services.consent.handlers import Caller, Consent, change_within
from services.consent.messages.queue import unsent_for
from services.consent.store import SQL
from services.policy.erasure import DUTY
from services.runtime import outbox
from services.runtime.clock import KST
from services.runtime.postgres import DATABASE_ERRORS, Connection

SYSTEM: Final = Caller("erasure", "system")
CONFIRM_DUTY: Final = "destruction_confirm"
ANSWER_DUTY: Final = "destruction_answer"
RECORDS_DUTY: Final = "records_retained"
PAGE: Final = 50
"""Cases in one transaction: it holds their members' rows, and what goes wrong with one undoes it for all."""
BUSY_S: Final = 0.2
"""About what the stores take to answer."""

MOVES = Counter("dongui_erasure_moves", "Moves made", ["move"])
FORCED = Counter("dongui_erasure_forced", "Keys shredded at the legal limit with something still owed")
OPEN = Gauge("dongui_erasure_open", "Cases by state", ["state"])
OWED = Gauge("dongui_erasure_records_owed", "Cases whose statutory records are not all retained yet")
LATE = Gauge("dongui_erasure_late", "Cases past the legal limit that are neither erased nor held")
log = structlog.get_logger("erasure")
Take = Callable[[Consent, Sequence[str]], Awaitable[int]]
"""A step of these cases (their ids) in one transaction; returns of how many it was taken."""


async def run(consent: Consent, every_s: float, stop: asyncio.Event) -> None:
    """Look at once and then every `every_s` seconds until `stop`, sooner while there is work; what is away can wait."""
    while not stop.is_set():
        pause_s = every_s
        try:
            if await look(consent):
                pause_s = min(every_s, BUSY_S)
        except DATABASE_ERRORS as error:
            log.warning("erasure_put_off", error=type(error).__name__)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)


async def look(consent: Consent) -> int:
    """Make every move that is due once; return how many. Several processes may look at once."""
    try:
        await _select_forgotten(consent)
    except Exception as error:  # noqa: BLE001 - who has no case yet keeps nobody waiting who has one
        log.warning("erasure_not_selected", error=type(error).__name__)
    moved = await _step(consent, "erasure_due", [consent.clock()], advance)
    moved += await _step(consent, "erasure_owing", [], _answered)
    moved += await _step(consent, "erasure_records_done", [], _arrived)
    await _tell_overdue(consent)
    await measure(consent)
    return moved


async def _step(consent: Consent, query: str, values: Sequence[Any], take: Take) -> int:
    """Take a step of every case that a query finds, page by page; return how many were taken."""
    taken = after = 0
    while rows := await consent.pool.fetch(SQL[query], *values, after, PAGE):
        taken += await _safely(take, consent, [row["erasure_id"] for row in rows])
        after = rows[-1]["position"]
    return taken


async def _safely(take: Take, consent: Consent, ids: Sequence[str]) -> int:
    """Take a step of these cases together; when it fails, of either half: what is wrong with one stops no other."""
    try:
        return await take(consent, ids)
    except Exception as error:  # noqa: BLE001 - a case nobody foresaw must not end the process, which has them all
        if len(ids) == 1:
            log.warning("erasure_not_moved", erasure_id=ids[0], error=type(error).__name__)
            return 0
    half = len(ids) // 2
    return await _safely(take, consent, ids[:half]) + await _safely(take, consent, ids[half:])


async def advance(consent: Consent, ids: Sequence[str]) -> int:
    """Make the one move that is due for each of these cases; return how many. Another process's are left to it."""
    at = consent.clock()
    async with consent.pool.acquire() as tx, tx.transaction():
        due = await _due(tx, await store.lock_free(tx, ids), at)
        await _start(consent, tx, [case for case, _, move in due if move == "start"], at)
        await _shred(consent, tx, [(case, gate) for case, gate, move in due if move == "shred"], at)
    for _, _, move in due:
        MOVES.labels(move).inc()
    if due:
        consent.nudge()
    return len(due)


async def _due(tx: Connection, cases: Sequence[Case], at: datetime) -> list[tuple[Case, Gate, Move]]:
    """Return which of these cases are to move now, what their shred waits for, and how they move."""
    gates = await _gates(tx, [case for case in cases if case.state == "executing"])
    moves = [(case, gates.get(case.erasure_id, Gate())) for case in cases]
    found = [(case, gate, model.next_move(case, gate, at)) for case, gate in moves]
    return [each for each in found if each[2] != "wait"]


async def _gates(tx: Connection, cases: Sequence[Case]) -> dict[str, Gate]:
    if not cases:
        return {}
    refs = [case.member_ref for case in cases]
    unanswered = await store.unanswered(tx, [case.change_id for case in cases if case.change_id])
    owing, messages = await retained.owing(tx, refs), await unsent_for(tx, refs)
    return {
        case.erasure_id: Gate(
            unanswered=unanswered.get(case.change_id or "", ()),
            retained=case.member_ref not in owing,
            messages=messages.get(case.member_ref, 0),
        )
        for case in cases
    }


async def _start(consent: Consent, tx: Connection, cases: Sequence[Case], at: datetime) -> None:
    """The erased fact, a stop for everyone who ever held a row, and the statutory records, all by the outbox."""
    started: list[tuple[Case, int]] = []
    for case in cases:
        _, context = await change_within(consent, tx, case.member_ref, model.erase, SYSTEM)
        records = await retained.hand_over(consent, tx, case.member_ref)
        started.append((model.started(case, context.change_id), records))
    if not started:
        return
    await store.start(tx, started, at)
    owed = {case.erasure_id: case.member_ref for case, records in started if records}
    await duties.open_duties(tx, RECORDS_DUTY, owed, at)
    told = [(c, {"change_id": c.change_id or "", "records": str(records)}) for c, records in started]
    await _enter(tx, told, "executing", at)


async def _shred(consent: Consent, tx: Connection, due: Sequence[tuple[Case, Gate]], at: datetime) -> None:
    """Keys first, then the words: a crash between the two repeats both. The members' locks keep new messages out."""
    if not due:
        return
    refs = [case.member_ref for case, _ in due]
    await tx.execute(SQL["erasure_lock_members"], refs)
    await consent.keyring.shred(*refs)
    await unsent.drop(tx, refs, at)
    await store.wipe(tx, refs, at)
    await outbox.append(tx, [suppressions.record_of(ref, at) for ref in refs])
    done = [(model.shredded(case, gate), gate) for case, gate in due]
    await store.finish(tx, done, at)
    await _close(tx, done, at)


async def _close(tx: Connection, done: Sequence[tuple[Case, Gate]], at: datetime) -> None:
    await duties.close_duties(tx, DUTY, {case.duty_subject: _outcome(case) for case, _ in done}, at)
    unconfirmed = {case.erasure_id: case.member_ref for case, _ in done if not case.confirmed}
    await duties.open_duties(tx, CONFIRM_DUTY, unconfirmed, at)
    unanswered = {case.erasure_id: case.member_ref for case, gate in done if gate.unanswered}
    await duties.open_duties(tx, ANSWER_DUTY, unanswered, at)
    await _enter(tx, [(case, _codes(case, gate)) for case, gate in done], "erased", at)
    for case, gate in done:
        if case.forced:
            FORCED.inc()
            told = {"unanswered": list(gate.unanswered), "retained": gate.retained}
            log.error("erasure_forced", erasure_id=case.erasure_id, **told)


def _outcome(case: Case) -> str:
    return "forced" if case.forced else "destroyed"


def _codes(case: Case, gate: Gate) -> dict[str, str]:
    owing = {"unanswered": _named(gate.unanswered)} if gate.unanswered else {}
    return {"outcome": _outcome(case), "retained": "yes" if gate.retained else "no", **owing}


def _named(recipients: Sequence[str]) -> str:
    """Return the names as one code; how many they are when they are too many for that."""
    names = "+".join(recipients)
    return names if CODED_VALUE.fullmatch(names) else str(len(recipients))


async def _answered(consent: Consent, ids: Sequence[str]) -> int:
    """Note that who owed an answer when the key was shredded has answered since: the stop record needs no key."""
    at = consent.clock()
    async with consent.pool.acquire() as tx, tx.transaction():
        cases = await store.all_answered(tx, ids)
        await duties.close_duties(tx, ANSWER_DUTY, {case.erasure_id: "answered" for case in cases}, at)
        await _enter(tx, [(case, {}) for case in cases], "answered", at)
    consent.nudge()
    return len(cases)


async def _arrived(consent: Consent, ids: Sequence[str]) -> int:
    """Destroy the hand-over key of who is erased and whose statutory records have all arrived: at once, or late."""
    at = consent.clock()
    async with consent.pool.acquire() as tx, tx.transaction():
        cases = await store.records_ended(tx, ids, at)
        await retained.end_handover(consent, [case.member_ref for case in cases])
        await duties.close_duties(tx, RECORDS_DUTY, {case.erasure_id: "retained" for case in cases}, at)
        await _enter(tx, [(case, {}) for case in cases], "records_retained", at)
    consent.nudge()
    return len(cases)


async def _tell_overdue(consent: Consent) -> None:
    """Escalate, once, each case that is past the law's last day and cannot be moved: an error, and an entry for all."""
    at = consent.clock()
    async with consent.pool.acquire() as tx, tx.transaction():
        for row in await tx.fetch(SQL["erasure_overdue"], at, at.astimezone(KST).date()):
            case = await store.lock(tx, row["erasure_id"])
            assert case is not None  # a case is never deleted
            await _enter(tx, [(case, {"due_on": case.schedule.due_on.isoformat()})], "overdue", at)
            log.error("erasure_overdue", erasure_id=case.erasure_id, state=case.state)


async def _select_forgotten(consent: Consent) -> None:
    """Members who left before there were cases get theirs, with the law's days from when they left."""
    while rows := await consent.pool.fetch(SQL["erasure_unselected"], PAGE):
        for row in rows:
            async with consent.pool.acquire() as tx, tx.transaction():
                await selection.select(
                    tx, row["member_ref"], "withdrawal", SYSTEM.name, row["withdrawn_at"], actor=SYSTEM.actor
                )
        consent.nudge()


async def _enter(tx: Connection, cases: Sequence[tuple[Case, dict[str, str]]], state: str, at: datetime) -> None:
    """Hand a register entry of each case to the outbox, with its codes."""
    told = [
        register.entry(
            store.KIND,
            case.erasure_id,
            state,
            at,
            actor="system",
            member_ref=case.member_ref,
            codes={"class": case.class_id, **codes},
        )
        for case, codes in cases
    ]
    await outbox.append(tx, told)


async def measure(consent: Consent) -> None:
    """Show how many cases there are by state, and how many are late."""
    rows = await consent.pool.fetch(SQL["erasure_census"], consent.clock())
    counts = {row["state"]: row for row in rows}
    for state in ("selected", "approved", "executing"):
        OPEN.labels(state).set(counts[state]["cases"] if state in counts else 0)
    OWED.set(await consent.pool.fetchval(SQL["erasure_records_owed"]))
    LATE.set(sum(row["late"] for row in rows))

"""Advances every case that is due, one move at a time, each in a transaction of its own, under the case's lock.

Whoever is killed anywhere leaves a case at its last stored state, and the move is made again: the shred too, which
happens in another database before the transaction that says so, and is as destroyed the second time as the first.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

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
PAGE: Final = 200
BUSY_S: Final = 0.2
"""About what the stores take to answer."""
AT_ONCE: Final = 4
"""Cases in work side by side: the pool is the API's too."""

MOVES = Counter("dongui_erasure_moves", "Moves made", ["move"])
FORCED = Counter("dongui_erasure_forced", "Keys shredded at the legal limit with something still owed")
OPEN = Gauge("dongui_erasure_open", "Cases by state", ["state"])
OWED = Gauge("dongui_erasure_records_owed", "Cases whose statutory records are not all retained yet")
LATE = Gauge("dongui_erasure_late", "Cases past the legal limit that are neither erased nor held")
log = structlog.get_logger("erasure")
T = TypeVar("T")


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
    moved = 0
    async for page in _due(consent):
        for start in range(0, len(page), AT_ONCE):
            found = await asyncio.gather(*(_safely(advance, consent, ref) for ref in page[start : start + AT_ONCE]))
            moved += sum(move not in {"wait", None} for move in found)
    moved += await _settle_answers(consent) + await _settle_records(consent)
    await _tell_overdue(consent)
    await measure(consent)
    return moved


async def _due(consent: Consent) -> AsyncIterator[list[str]]:
    at, after = consent.clock(), 0
    while rows := await consent.pool.fetch(SQL["erasure_due"], at, after, PAGE):
        yield [row["erasure_id"] for row in rows]
        after = rows[-1]["position"]


async def _safely(step: Callable[[Consent, str], Awaitable[T]], consent: Consent, erasure_id: str) -> T | None:
    """Take a step of one case; None when it fails, whatever the reason: it stops no other, and is tried again."""
    try:
        return await step(consent, erasure_id)
    except Exception as error:  # noqa: BLE001 - a case nobody foresaw must not end the process, which has them all
        log.warning("erasure_not_moved", erasure_id=erasure_id, error=type(error).__name__)
        return None


async def advance(consent: Consent, erasure_id: str) -> Move:
    """Make the one move that is due for a case; `wait` when there is none, or another process is at it."""
    at = consent.clock()
    async with consent.pool.acquire() as tx, tx.transaction():
        case = await store.lock_free(tx, erasure_id)
        if case is None:
            return "wait"
        gate = await gate_of(tx, case)
        move = model.next_move(case, gate, at)
        if move == "start":
            await _start(consent, tx, case, at)
        elif move == "shred":
            await _shred(consent, tx, case, gate, at)
    if move != "wait":
        MOVES.labels(move).inc()
        consent.nudge()
    return move


async def gate_of(tx: Connection, case: Case) -> Gate:
    """Return what the shred of a case still waits for."""
    if case.state != "executing":
        return Gate()
    return Gate(
        unanswered=await store.unanswered(tx, case.change_id),
        retained=await retained.all_retained(tx, case.member_ref),
        messages=await unsent_for(tx, case.member_ref),
    )


async def _start(consent: Consent, tx: Connection, case: Case, at: datetime) -> None:
    """The erased fact, a stop for everyone who ever held a row, and the statutory records, all by the outbox."""
    _, context = await change_within(consent, tx, case.member_ref, model.erase, SYSTEM)
    records = await retained.hand_over(consent, tx, case.member_ref)
    started = model.started(case, context.change_id)
    await store.update(tx, started)
    await tx.execute(SQL["erasure_started"], case.erasure_id, at, records)
    if records:
        await duties.open_duty(tx, RECORDS_DUTY, case.erasure_id, at, member_ref=case.member_ref)
    await _entry(tx, started, "executing", at, {"change_id": context.change_id, "records": str(records)})


async def _shred(consent: Consent, tx: Connection, case: Case, gate: Gate, at: datetime) -> None:
    """Key first, then the words: a crash between the two repeats both. The member's lock keeps new messages out."""
    await tx.execute(SQL["erasure_lock_member"], case.member_ref)
    await consent.keyring.shred(case.member_ref)
    await unsent.drop(tx, case.member_ref, at)
    await store.wipe(tx, case.member_ref, at)
    await outbox.append(tx, [suppressions.record_of(case.member_ref, at)])
    done = model.shredded(case, gate)
    await store.finish(tx, done, gate, at)
    await _close(tx, done, gate, at)


async def _close(tx: Connection, case: Case, gate: Gate, at: datetime) -> None:
    outcome = "forced" if case.forced else "destroyed"
    await duties.close_duty(tx, DUTY, case.duty_subject, at, outcome)
    if not case.confirmed:
        await duties.open_duty(tx, CONFIRM_DUTY, case.erasure_id, at, member_ref=case.member_ref)
    codes = {"outcome": outcome, "retained": "yes" if gate.retained else "no"}
    if gate.unanswered:
        codes["unanswered"] = _named(gate.unanswered)
        await duties.open_duty(tx, ANSWER_DUTY, case.erasure_id, at, member_ref=case.member_ref)
    if case.forced:
        FORCED.inc()
        told = {"unanswered": list(gate.unanswered), "retained": gate.retained}
        log.error("erasure_forced", erasure_id=case.erasure_id, **told)
    await _entry(tx, case, "erased", at, codes)


def _named(recipients: Sequence[str]) -> str:
    """Return the names as one code; how many they are when they are too many for that."""
    names = "+".join(recipients)
    return names if CODED_VALUE.fullmatch(names) else str(len(recipients))


async def _settle_answers(consent: Consent) -> int:
    """Note that who owed an answer when the key was shredded has answered since: the stop record needs no key."""
    settled = after = 0
    while rows := await consent.pool.fetch(SQL["erasure_owing"], after, PAGE):
        settled += sum([bool(await _safely(_answered, consent, row["erasure_id"])) for row in rows])
        after = rows[-1]["position"]
    return settled


async def _answered(consent: Consent, erasure_id: str) -> bool:
    at = consent.clock()
    async with consent.pool.acquire() as tx, tx.transaction():
        case = await store.all_answered(tx, erasure_id)
        if case is None:
            return False
        await duties.close_duty(tx, ANSWER_DUTY, erasure_id, at, "answered")
        await _entry(tx, case, "answered", at, {})
    consent.nudge()
    return True


async def _settle_records(consent: Consent) -> int:
    """Destroy the hand-over key of who is erased and whose statutory records have all arrived: at once, or late."""
    settled = after = 0
    while rows := await consent.pool.fetch(SQL["erasure_records_done"], after, PAGE):
        settled += sum([bool(await _safely(_arrived, consent, row["erasure_id"])) for row in rows])
        after = rows[-1]["position"]
    return settled


async def _arrived(consent: Consent, erasure_id: str) -> bool:
    at = consent.clock()
    async with consent.pool.acquire() as tx, tx.transaction():
        case = await store.records_ended(tx, erasure_id, at)
        if case is None:
            return False
        await retained.end_handover(consent, case.member_ref)
        await duties.close_duty(tx, RECORDS_DUTY, erasure_id, at, "retained")
        await _entry(tx, case, "records_retained", at, {})
    consent.nudge()
    return True


async def _tell_overdue(consent: Consent) -> None:
    """Escalate, once, each case that is past the law's last day and cannot be moved: an error, and an entry for all."""
    at = consent.clock()
    async with consent.pool.acquire() as tx, tx.transaction():
        for row in await tx.fetch(SQL["erasure_overdue"], at, at.astimezone(KST).date()):
            case = await store.lock(tx, row["erasure_id"])
            assert case is not None  # a case is never deleted
            await _entry(tx, case, "overdue", at, {"due_on": case.schedule.due_on.isoformat()})
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


async def _entry(tx: Connection, case: Case, state: str, at: datetime, codes: dict[str, str]) -> None:
    ref = case.member_ref
    told = {"class": case.class_id, **codes}
    await register.append(tx, store.KIND, case.erasure_id, state, at, actor="system", member_ref=ref, codes=told)


async def measure(consent: Consent) -> None:
    """Show how many cases there are by state, and how many are late."""
    rows = await consent.pool.fetch(SQL["erasure_census"], consent.clock())
    counts = {row["state"]: row for row in rows}
    for state in ("selected", "approved", "executing"):
        OPEN.labels(state).set(counts[state]["cases"] if state in counts else 0)
    OWED.set(await consent.pool.fetchval(SQL["erasure_records_owed"]))
    LATE.set(sum(row["late"] for row in rows))

"""The end of a notice: its receipt, and the end of the older ones that it overtook, in the caller's transaction."""

from dataclasses import replace
from datetime import datetime
from typing import Literal

from schemas.receipts import Stage
from services.propagator.notices import outgoing, store
from services.propagator.notices.store import End, Job, Subject
from services.runtime.outbox import Record
from services.runtime.postgres import Connection


def subject_of(job: Job) -> Subject:
    """Return what receipts about a job are about."""
    return Subject(job.change_id, job.member_ref, job.recipient, job.seq)


async def acknowledged(tx: Connection, job: Job, end: End) -> bool:
    """The third party said what it did. False when the job is not ours any more: then nothing was written."""
    stage: Stage = "refused" if end.outcome == "refused" else "applied"
    return await _ended(tx, job, end, stage, attempted=True)


async def skipped(tx: Connection, job: Job, end: End) -> bool:
    """The member is erased: nobody can read the notice any more, and nobody has to. False as above."""
    return await _ended(tx, job, end, "skipped_destroyed")


async def refused(tx: Connection, job: Job, end: End) -> bool:
    """A fault that no repetition mends: dead letter and receipt. What it overtook waits on. False as above."""
    assert end.reason
    return await _ended(tx, job, end, "refused", extra=[outgoing.dead_letter(job, end.reason)])


async def _ended(
    tx: Connection, job: Job, end: End, stage: Stage, *, attempted: bool = False, extra: list[Record] | None = None
) -> bool:
    overtook = await store.close(tx, job, end, attempted=attempted)
    if overtook is None:
        return False
    said = outgoing.receipt(subject_of(job), stage, end.at, outcome=end.outcome, reason=end.reason)
    await outgoing.append_new(tx, [*(extra or []), said])
    if overtook:
        await of_overtaken(tx, job.position, end)
    return True


async def answered_before(tx: Connection, job: Job) -> None:
    """End a notice that was sent again with the answer that stands, if there is one: it is not given twice."""
    for position, end in await store.close_answered(tx, [job.change_id], [job.recipient]):
        await of_overtaken(tx, position, end)


async def of_overtaken(tx: Connection, position: int, end: End) -> None:
    """End what a notice overtook as the notice itself ended: answered with it, or moot with it."""
    if end.state == "refused":
        return
    state: Literal["skipped_destroyed", "superseded"] = (
        "skipped_destroyed" if end.state == "skipped_destroyed" else "superseded"
    )
    ended = await store.close_overtaken(tx, position, replace(end, state=state))
    said = [outgoing.receipt(about, state, end.at, outcome=end.outcome, reason=end.reason) for about in ended]
    await outgoing.append_new(tx, said)


async def overtaken(tx: Connection, job: Job, positions: tuple[int, ...], at: datetime) -> int:
    """Let a job go in place of older ones; return how many it overtook."""
    gone = await store.overtake(tx, positions, job, at)
    await outgoing.append_new(tx, [outgoing.receipt(about, "superseded", at) for about in gone])
    return len(gone)

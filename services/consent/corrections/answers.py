"""Answers as they come, by whichever way: into `delivery`, the ledger and the notice register, then staff's duties.

What staff must see is a duty: a notice to send by hand, a refusal, a fault of ours; silence becomes one by the hourly
look (`escalate`). A duty ends with the answer; a refusal's only when staff confirm it.
"""

from collections.abc import Sequence
from typing import Final, Literal

from schemas.receipts import Receipt
from services.consent import duties
from services.consent.store import SQL
from services.runtime.postgres import Connection

ANSWER_DUTY: Final = "notice_answer"
MANUAL_DUTY: Final = "notice_manual"
KINDS: Final = (ANSWER_DUTY, MANUAL_DUTY)
Via = Literal["answer", "callback", "staff"]


async def record(tx: Connection, receipts: Sequence[Receipt], via: Via, evidence: str | None = None) -> None:
    """Write receipts of any recipient, at most one per delivery; the same ones again change nothing."""
    manual = [r for r in receipts if r.stage == "manual"]
    answers = [r for r in receipts if r.stage != "manual"]
    if manual:
        columns = [[getattr(r, name) for r in manual] for name in ("change_id", "recipient", "at")]
        await tx.execute(SQL["record_manual"], *columns)
    if answers:
        names = ("change_id", "recipient", "stage", "at", "outcome", "reason")
        columns = [[getattr(r, name) for r in answers] for name in names]
        await tx.execute(SQL["record_answers"], *columns, via, evidence)
    told = [r for r in receipts if r.kind == "third_party"]
    if told:
        await _follow(tx, told)


async def _follow(tx: Connection, told: Sequence[Receipt]) -> None:
    """An older notice that was overtaken is answered with the newer one; then duties open and close."""
    overtaken = await tx.fetch(SQL["close_overtaken"], [r.member_ref for r in told])
    changes = [r.change_id for r in told] + [str(row["change_id"]) for row in overtaken]
    recipients = [r.recipient for r in told] + [row["recipient"] for row in overtaken]
    for row in await tx.fetch(SQL["notices_for_staff"], changes, recipients):
        kind = MANUAL_DUTY if row["stage"] == "manual" else ANSWER_DUTY
        await duties.open_duty(tx, kind, row["notice_id"], row["created_at"], member_ref=row["member_ref"])
    await tx.execute(SQL["close_notice_duties"], changes, recipients, list(KINDS))

"""Messages that a destruction overtakes: nobody can be reached any more, so they end, and so do their duties."""

from datetime import datetime
from typing import Final

from services.consent import duties, register
from services.consent.store import SQL
from services.policy.messages import load
from services.runtime.postgres import Connection

REASON: Final = "member_erased"


async def drop(tx: Connection, member_ref: str, at: datetime) -> int:
    """Drop what still waits for a member, with the evidence of it; return how many. One that goes out now has gone."""
    rows = await tx.fetch(SQL["erasure_drop_messages"], member_ref, REASON, at)
    for row in rows:
        duty = load().kinds[row["kind"]].duty
        if duty is not None:
            await duties.close_duty(tx, duty, row["message_id"], at, REASON)
        codes = {"kind": row["kind"], "sender": row["sender"], "medium": row["medium"], "reason": REASON}
        await register.append(
            tx, "message", row["message_id"], "dropped", at, actor="system", member_ref=member_ref, codes=codes
        )
    return len(rows)

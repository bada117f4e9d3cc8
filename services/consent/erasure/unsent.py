"""Messages that a destruction overtakes: nobody can be reached any more, so they end, and so do their duties."""

from datetime import datetime

from services.consent import register
from services.consent.messages.settle import ERASED, settle
from services.consent.store import SQL
from services.runtime.postgres import Connection


async def drop(tx: Connection, member_ref: str, at: datetime) -> int:
    """Drop what still waits for a member, with the evidence of it; return how many. One that goes out now has gone."""
    rows = await tx.fetch(SQL["erasure_drop_messages"], member_ref, ERASED, at)
    for row in rows:
        await settle(tx, row, at, ERASED)
        codes = {"kind": row["kind"], "sender": row["sender"], "medium": row["medium"], "reason": ERASED}
        await register.append(
            tx, "message", row["message_id"], "dropped", at, actor="system", member_ref=member_ref, codes=codes
        )
    return len(rows)

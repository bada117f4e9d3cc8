"""Messages that a destruction overtakes: nobody can be reached any more, so they end, and so do their duties."""

from collections.abc import Sequence
from datetime import datetime

from services.consent import register
from services.consent.messages.settle import ERASED, settle
from services.consent.store import SQL
from services.runtime.postgres import Connection


async def drop(tx: Connection, member_refs: Sequence[str], at: datetime) -> None:
    """Drop what still waits for members, with the evidence of it. One that goes out now has gone."""
    rows = await tx.fetch(SQL["erasure_drop_messages"], member_refs, ERASED, at)
    for row in rows:
        await settle(tx, row, at, ERASED)
        codes = {"kind": row["kind"], "sender": row["sender"], "medium": row["medium"], "reason": ERASED}
        told = ("message", row["message_id"], "dropped", at)
        await register.append(tx, *told, actor="system", member_ref=row["member_ref"], codes=codes)

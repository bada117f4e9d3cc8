"""Legal holds: one pauses the destruction of a member's records here and of the member in the consent database.

Each side tells of its holds by register entries (`legal_hold`, the subject is the hold's id) and obeys the other's, so
a lift anywhere ends the hold that it names, and no other.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from aiokafka import ConsumerRecord

from schemas.receipts import HOLD_KIND
from services.retention import answers
from services.retention.readings import Vault
from services.retention.store import SQL
from services.runtime import outbox
from services.runtime.hold_record import steps
from services.runtime.postgres import Connection

HERE: Final = "retention"


async def put(vault: Vault, member_ref: str, reason: str, by: str) -> None:
    """Keep a member's records beyond their time until the hold is lifted. Again changes nothing."""
    at = vault.clock()
    async with vault.pool.acquire() as connection, connection.transaction():
        hold_id = await connection.fetchval(SQL["hold_set"], member_ref, reason, by, at)
        if hold_id is not None:
            await outbox.append(connection, [_entry(str(hold_id), member_ref, "held", at, {"reason": reason})])


async def lift(vault: Vault, member_ref: str) -> bool:
    """Lift every hold on a member, wherever it was put; False when none stood."""
    at = vault.clock()
    async with vault.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(SQL["hold_lift"], member_ref)
        await outbox.append(connection, [_entry(str(row["hold_id"]), member_ref, "lifted", at, {}) for row in rows])
    return bool(rows)


async def obey(tx: Connection, batch: "Sequence[ConsumerRecord[Any, Any]]") -> None:
    """Take the consent service's holds and lifts from the receipts topic; the same batch again changes nothing."""
    for told in steps(batch, "consent"):
        if told.held:
            await tx.execute(SQL["hold_mirror"], told.hold_id, told.member_ref, told.reason, told.at)
        else:
            await tx.execute(SQL["hold_mirror_lift"], told.hold_id)


def _entry(hold_id: str, member_ref: str, state: str, at: datetime, codes: dict[str, str]) -> outbox.Record:
    told = {**codes, "place": HERE}
    return answers.entry(HOLD_KIND, hold_id, state, at, actor="staff", member_ref=member_ref, codes=told)

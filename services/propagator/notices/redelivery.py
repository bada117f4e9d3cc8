"""Notices sent again on somebody's word: by id, by third party, by time; what replay of a topic never does.

The same webhook-id and body go out once more, as after a failure; a receiver that has it already answers what it
answered before, and one that applied something newer drops it by `sequence`.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from schemas.receipts import RegisterEntry
from services.propagator.notices.outgoing import SOURCE
from services.propagator.notices.store import SQL
from services.runtime import outbox
from services.runtime.clock import Clock
from services.runtime.postgres import Connection
from services.runtime.register_record import carrier

KIND: Final = "notice_redelivery"


class SelectionError(ValueError):
    """The selection selects everything, or nothing that can be; says what to give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which notices: all that are given must hold. `ids` are notice ids or change ids; times are of our receiving.

    `since` is included, `until` is not; both aware.
    """

    ids: tuple[str, ...] = ()
    recipient: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def check(self, by_hand: Collection[str] = ()) -> None:
        """Raise SelectionError unless it says something, and no time is without a zone or the wrong way round.

        Nor may it name one of those who are told by hand.
        """
        if not self.ids and self.recipient is None and self.since is None:
            raise SelectionError("say which notices: ids, a third party, or a time from which on")
        if self.recipient in by_hand:
            raise SelectionError(f"staff tell {self.recipient} by e-mail or post: only they can send it again")
        if any(at is not None and at.tzinfo is None for at in (self.since, self.until)):
            raise SelectionError("give each time with its offset, such as 2026-11-24T09:00:00+09:00")
        if self.since and self.until and self.since >= self.until:
            raise SelectionError("the end of the range is not after its beginning")

    def columns(self) -> tuple[Any, ...]:
        return (list(self.ids) or None, self.recipient, self.since, self.until)

    def told(self) -> dict[str, Any]:
        """Return it as JSON."""
        since, until = (at.isoformat() if at else None for at in (self.since, self.until))
        return {"ids": list(self.ids), "recipient": self.recipient, "since": since, "until": until}


@dataclass(frozen=True, slots=True)
class Redelivery:
    """What comes of it: how many go again; how many do not, by the state they are in.

    `sending`: on its way now; `told_by_staff`: of a third party without a server.
    """

    redelivery_id: str | None
    notices: int
    skipped: dict[str, int]


async def planned(
    pool: asyncpg.Pool, selection: Selection, clock: Clock, *, by_hand: Collection[str] = ()
) -> Redelivery:
    """Return what `ask` would do, and do nothing. Raises SelectionError."""
    selection.check(by_hand)
    rows = await pool.fetch(SQL["redelivery_plan"], *selection.columns(), clock(), list(by_hand))
    return _counted(None, rows)


async def ask(
    pool: asyncpg.Pool, selection: Selection, clock: Clock, *, by: str, reason: str, by_hand: Collection[str] = ()
) -> Redelivery:
    """Make the notices due at once and their schedule begin anew; on the record with who asked and why (a code).

    Left out are those that were overtaken (what they said is outdated), of erased members, dead letters, and those of
    third parties that are told by hand: there is no endpoint to send them to. Raises SelectionError.
    """
    selection.check(by_hand)
    now, redelivery_id = clock(), str(uuid.uuid4())
    async with pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(SQL["redelivery_plan"], *selection.columns(), now, list(by_hand))
        await connection.execute(SQL["redeliver"], *selection.columns(), now, list(by_hand))
        made = _counted(redelivery_id, rows)
        await _put_on_record(connection, made, selection, now, by=by, reason=reason)
    return made


def _counted(redelivery_id: str | None, rows: Sequence[asyncpg.Record]) -> Redelivery:
    again = sum(row["notices"] for row in rows if row["again"])
    return Redelivery(redelivery_id, again, {row["state"]: row["notices"] for row in rows if not row["again"]})


async def _put_on_record(
    tx: Connection, made: Redelivery, selection: Selection, now: datetime, *, by: str, reason: str
) -> None:
    assert made.redelivery_id
    told = (by, now, reason, selection.told(), made.notices, made.skipped)
    await tx.execute(SQL["insert_redelivery"], made.redelivery_id, *told)
    codes = {"notices": str(made.notices), "by": by, "reason": reason}
    entry = RegisterEntry(
        entry_id=str(uuid.uuid5(uuid.UUID(made.redelivery_id), KIND)),
        kind=KIND,
        subject=made.redelivery_id,
        state="asked",
        at=now,
        actor="staff",
        codes=codes | ({"recipient": selection.recipient} if selection.recipient else {}),
    )
    await outbox.append(tx, [carrier(entry, SOURCE)])

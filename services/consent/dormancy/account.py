"""One account, locked: the member and the members under it, when it was last used, and what can be done with it.

An account is used when anybody in it is: deleting the data of members who log in daily because their administrator
does not would be no one's wish. Every verb takes the caller's transaction.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.consent import duties, handlers, model, register
from services.consent.handlers import Caller, Consent
from services.consent.messages.queue import queue
from services.consent.model import Member, Step
from services.consent.store import SQL
from services.policy.dormancy import Promise
from services.runtime.postgres import Connection

NOTE: Final = "dormancy"
DUTY: Final = "dormancy_leave"
SYSTEM: Final = Caller("dormancy", "system")
_NAMESPACE: Final = uuid.UUID("3b0d1f52-6a0e-5a64-9a51-2f0f6c9d7e11")


@dataclass(frozen=True)
class Seat:
    """One member of an account."""

    ref: str
    status: str
    used_at: datetime
    notified_at: datetime | None


@dataclass(frozen=True)
class Account:
    """An account under lock: its own member, and all its seats (that member's among them)."""

    ref: str
    seats: tuple[Seat, ...]

    @property
    def owner(self) -> Seat | None:
        """The account's own member while it lives."""
        return next((s for s in self.seats if s.ref == self.ref), None)

    @property
    def used_at(self) -> datetime:
        """The last use by anybody in it."""
        return max(s.used_at for s in self.seats)


async def lock(tx: Connection, ref: str) -> Account:
    """Lock a member with the members under it, in the order of their references; then see how each was last used.

    In a statement of its own, which sees what was committed while the first one waited for a lock.
    """
    locked = [row["member_ref"] for row in await tx.fetch(SQL["dormancy_lock_account"], ref)]
    rows = await tx.fetch(SQL["dormancy_seats"], locked)
    seats = (Seat(r["member_ref"], r["status"], r["used_at"], r["dormant_notified_at"]) for r in rows)
    return Account(ref, tuple(seats))


async def notify(tx: Connection, account: Account, promise: Promise, at: datetime) -> None:
    """Tell every seat that the account is about to leave: message, register entry, duty. Nothing else changes."""
    await tx.execute(SQL["dormancy_notify"], [s.ref for s in account.seats], at)
    last = promise.leave_after(account.used_at, at)
    for seat in account.seats:
        subject = notice_id(seat.ref, at)
        await queue(
            tx, "dormancy_notice", seat.ref, {"leaves_on": last + timedelta(1)}, f"dormancy_notice/{subject}", at
        )
        codes = {"last_day": last.isoformat()}
        await register.append(tx, "dormancy", subject, "notified", at, actor="system", member_ref=seat.ref, codes=codes)
    await duties.open_duty(tx, DUTY, notice_id(account.ref, at), at, member_ref=account.ref)


async def release(consent: Consent, tx: Connection, account: Account, caller: Caller, at: datetime) -> None:
    """Take the notice back from every seat that has one: a change each, so that the log shows it.

    A seat that is suspended or about to leave gets no `released` record: that would say its own state had ended.
    """
    told = _notified(account)
    for seat in (s for s in told if s.status == "active"):
        await handlers.change_within(consent, tx, seat.ref, released, caller)
    await tx.execute(SQL["dormancy_notify"], [s.ref for s in told if s.status != "active"], None)
    await _close(tx, account, at, "released")


async def leave(consent: Consent, tx: Connection, account: Account, at: datetime) -> None:
    """Withdraw every seat, request and confirmation both, as if each had asked (1.2); their stores follow."""

    def requested(member: Member) -> Step:
        return replace(model.request_withdrawal(member, at), note=NOTE)

    def confirmed(member: Member) -> Step:
        return replace(model.confirm_withdrawal(member, at), note=NOTE)

    for seat in account.seats:
        if seat.status != "withdrawal_requested":
            await handlers.change_within(consent, tx, seat.ref, requested, SYSTEM)
        await handlers.change_within(consent, tx, seat.ref, confirmed, SYSTEM)
    await _close(tx, account, at, "left")


def released(member: Member) -> Step:
    """The step that ends a pending notice."""
    return Step(replace(member, dormant_notified_at=None), "released", note=NOTE)


def notice_id(ref: str, notified_at: datetime) -> str:
    """Return the id of one member's notice: the same for the same notice, another for the next."""
    return str(uuid.uuid5(_NAMESPACE, f"{ref}/{notified_at.timestamp()}"))


def _notified(account: Account) -> list[Seat]:
    return [s for s in account.seats if s.notified_at is not None]


async def _close(tx: Connection, account: Account, at: datetime, outcome: str) -> None:
    for seat in _notified(account):
        assert seat.notified_at is not None
        await duties.close_duty(tx, DUTY, notice_id(seat.ref, seat.notified_at), at, outcome)

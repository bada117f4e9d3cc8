"""The signal of use (2.2), and who belongs to an account."""

from datetime import datetime
from typing import Any

from services.consent import idempotency, register
from services.consent.dormancy import account
from services.consent.handlers import Caller, Consent, not_found
from services.consent.idempotency import Answer, Key
from services.consent.model import ENDED
from services.consent.refusals import field
from services.consent.store import SQL
from services.runtime.postgres import Connection
from services.runtime.problem import Problem


async def used(consent: Consent, ref: str, at: datetime | None, caller: Caller) -> dict[str, Any]:
    """Take note that a member used a service at `at` (default now); it cancels a pending notice of its account.

    Repeating it changes nothing. 422 for an instant to come, 404 for nobody, 409 for one who left.
    """
    now = consent.clock()
    if at is not None and at > now:
        ko, en = "이용 시각은 지금보다 늦을 수 없습니다.", "A use cannot lie in the future."
        raise field(422, "activity_in_future", "/at", ko, en)
    async with consent.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(SQL["dormancy_touch"], ref, at or now)
        if row is None:
            raise await _absent(connection, ref)
        told = row["dormant_notified_at"]
        ended = told is not None and (at or now) > told
        if ended:
            parent = await connection.fetchval(SQL["dormancy_account_of"], ref)
            locked = await account.lock(connection, parent or ref)
            await account.release(consent, connection, locked, caller, now)
    if ended:
        consent.nudge()
    return {"member_ref": ref, "released": ended}


async def add(consent: Consent, ref: str, member_ref: str, key: Key | None) -> Answer:
    """Put a member under the account of an administrator. 409 for what is no account of members."""
    at = consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        await _may_belong(connection, ref, member_ref)
        if await connection.execute(SQL["account_insert"], member_ref, ref, at) != "INSERT 0 1":
            raise _refused(
                "account_taken", "이미 다른 계정에 속한 회원입니다.", "The member is under an account already."
            )
        await _entry(connection, member_ref, "added", at)
        answer = Answer(201, {"member_ref": member_ref, "parent_ref": ref})
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def remove(consent: Consent, ref: str, member_ref: str) -> None:
    """Take a member out of an account; 404 when it is not in it."""
    async with consent.pool.acquire() as connection, connection.transaction():
        if await connection.execute(SQL["account_delete"], member_ref, ref) != "DELETE 1":
            raise not_found()
        await _entry(connection, member_ref, "removed", consent.clock())
    consent.nudge()


async def listed(consent: Consent, ref: str) -> dict[str, Any]:
    """Return the members under an account, in the order they came."""
    rows = await consent.pool.fetch(SQL["account_members"], ref)
    return {"account_members": [dict(row) for row in rows]}


async def _may_belong(tx: Connection, ref: str, member_ref: str) -> None:
    rows = await tx.fetch(SQL["account_lock"], [ref, member_ref])
    if {row["member_ref"] for row in rows} != {ref, member_ref}:
        raise not_found()
    if any(row["status"] in ENDED for row in rows):
        raise _left()
    if not await tx.fetchval(SQL["account_is_admin"], ref):
        raise _refused(
            "not_an_administrator", "어드민인 회원의 계정이 아닙니다.", "Not the account of an administrator."
        )
    if ref == member_ref or await tx.fetchval(SQL["account_is_nested"], ref, member_ref):
        raise _refused("account_nested", "계정 아래에 계정을 둘 수 없습니다.", "An account cannot stand under another.")


async def _absent(tx: Connection, ref: str) -> Problem:
    known = await tx.fetchrow(SQL["read_member"], ref)
    return _left() if known else not_found()


def _left() -> Problem:
    return _refused("member_withdrawn", "탈퇴한 회원입니다.", "The member has withdrawn.")


def _refused(code: str, ko: str, en: str) -> Problem:
    return Problem(409, code, ko, en)


async def _entry(tx: Connection, member_ref: str, state: str, at: datetime) -> None:
    await register.append(tx, "account_member", member_ref, state, at, actor="service", member_ref=member_ref)

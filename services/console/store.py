"""The rows of the console's database: accounts, sessions, sign-ins under way. The transaction is the first argument."""

import hashlib
from datetime import datetime

import asyncpg
from uuid_utils import uuid7

from schemas.receipts import CODED_VALUE, RegisterEntry
from services.console.model import ABSOLUTE, ATTEMPT, IDLE, Account, Role
from services.runtime import outbox
from services.runtime.postgres import Connection
from services.runtime.queries import Queries
from services.runtime.register_record import carrier

SQL = Queries("services.console")
SOURCE = "/dongui/console"
KIND = "console_account"
FIRST = "first_accounts"


def digest(token: str) -> bytes:
    """Return what the database keeps of a token that only a browser holds."""
    return hashlib.sha256(token.encode()).digest()


async def record(tx: Connection, account: Account, state: str, at: datetime, **codes: str | None) -> None:
    """Tell the audit log what was done with an account, in the transaction of the thing itself."""
    told = {"account": account.name, **{name: value for name, value in codes.items() if value}}
    entry = RegisterEntry(
        entry_id=str(uuid7()),
        kind=KIND,
        subject=account.account_id,
        state=state,
        at=at,
        actor="staff",
        codes={name: value for name, value in told.items() if CODED_VALUE.fullmatch(value)},
    )
    await outbox.append(tx, [carrier(entry, SOURCE)])


async def create(
    tx: Connection,
    name: str,
    standing: tuple[Role, str | None],
    at: datetime,
    *,
    password_hash: str,
    by: Account | None,
) -> Account | None:
    """Make a local account with a one-time password; None when the name is taken. `by` nobody: one of the first."""
    vouched_by = by.name if by else None
    row = await tx.fetchrow(SQL["insert_account"], name, None, *standing, password_hash, True, at, vouched_by)
    if row is None:
        return None
    account = Account.of_row(dict(row))
    told = {"role": account.role, "affiliate": account.affiliate, "by": vouched_by or FIRST}
    await record(tx, account, "created", at, **told)
    return account


async def confirm(tx: Connection, account: Account, at: datetime, by: str) -> None:
    """Note a second person's word that somebody of their own uses the account. Again, it changes nothing."""
    if account.vouched_by is not None:
        await tx.execute(SQL["confirm"], account.account_id)
        await record(tx, account, "confirmed", at, by=by, vouched_by=account.vouched_by)


async def change_role(
    tx: Connection, account: Account, standing: tuple[Role, str | None], at: datetime, by: str
) -> None:
    """Give an account another role: its sessions end, the audit log has both roles. The same role changes nothing."""
    if (account.role, account.affiliate) == standing:
        return
    await tx.execute(SQL["update_role"], account.account_id, *standing)
    await tx.execute(SQL["delete_sessions"], account.account_id)
    await record(tx, account, "role_changed", at, before=account.role, role=standing[0], affiliate=standing[1], by=by)


async def set_disabled(tx: Connection, account: Account, at: datetime, by: str, *, disabled: bool) -> None:
    """Close an account, at once for who is signed in, or open it again."""
    await tx.execute(SQL["set_disabled"], account.account_id, at if disabled else None)
    await tx.execute(SQL["delete_sessions"], account.account_id)
    await record(tx, account, "disabled" if disabled else "enabled", at, by=by)


async def reset(tx: Connection, account: Account, password_hash: str, at: datetime, by: str) -> None:
    """Give a local account a new one-time password; its second factor must be set up and itself confirmed again."""
    await tx.execute(SQL["set_one_time"], account.account_id, password_hash, by)
    await tx.execute(SQL["delete_sessions"], account.account_id)
    await record(tx, account, "password_reset", at, by=by)


async def open_session(tx: Connection, account: Account, token: str, at: datetime, *, enrolling: bool) -> None:
    """Begin a session; those that are over go at the same time."""
    await tx.execute(SQL["delete_old_sessions"], at - ABSOLUTE, at - IDLE)
    await tx.execute(SQL["insert_session"], digest(token), account.account_id, enrolling, at)


async def read_session(pool: asyncpg.Pool, token: str, now: datetime) -> asyncpg.Record | None:
    """Return the account's row with `enrolling` and `seen_at`; None when the session is over or never was."""
    return await pool.fetchrow(SQL["read_session"], digest(token), now - ABSOLUTE, now - IDLE)


async def begin_attempt(
    tx: Connection | asyncpg.Pool, state: str, browser: str, nonce: str, verifier: str, at: datetime
) -> None:
    """Note a sign-in that goes to the identity provider."""
    await tx.execute(SQL["delete_old_attempts"], at - ATTEMPT)
    await tx.execute(SQL["insert_attempt"], digest(state), digest(browser), nonce, verifier, at)


async def take_attempt(tx: Connection | asyncpg.Pool, state: str, browser: str, now: datetime) -> asyncpg.Record | None:
    """Return and forget the sign-in of a state; None when it is unknown, too old or another browser's."""
    row = await tx.fetchrow(SQL["take_attempt"], digest(state))
    fresh = row is not None and row["created_at"] > now - ATTEMPT and bytes(row["browser_hash"]) == digest(browser)
    return row if fresh else None

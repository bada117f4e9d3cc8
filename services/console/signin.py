"""Signing in: name, password and second factor at once, one answer for every fault, five tries; and the first time.

The account's row is locked while a password is looked at, so tries side by side count like tries in a row.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg
import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.console import model, store
from services.console.keys import ConsoleKey
from services.console.model import Account, Refusal
from services.console.store import SQL
from services.runtime.clock import Clock
from services.runtime.passwords import aside
from services.runtime.postgres import Connection

TOKEN_BYTES: Final = 32
STEP_S: Final = 30
DRIFT: Final = 1
"""Time steps a telephone's clock may be off, either way."""
ISSUER: Final = "Dongui"


@dataclass(frozen=True)
class Gate:
    """What signing in works with; `nudge` wakes the relay."""

    pool: asyncpg.Pool
    key: ConsoleKey
    hasher: PasswordHasher
    clock: Clock
    nudge: Callable[[], None]
    dummy: str
    """A hash nobody's password has: an unknown name takes as long as a known one."""
    affiliates: frozenset[str]
    """Whose people may have accounts."""


@dataclass(frozen=True)
class Entered:
    """Somebody is in: `token` is for the cookie; `enrolling` when all that is open is the page of the first time."""

    account: Account
    token: str
    enrolling: bool


async def enter(gate: Gate, name: str, password: str, code: str, place: str) -> Entered | Refusal:
    """Sign a local account in. `wrong` says nothing of what was wrong; `locked` that it was tried too often."""
    now = gate.clock()
    async with gate.pool.acquire() as tx, tx.transaction():
        row = await tx.fetchrow(SQL["account_of_name"], name) if model.NAME.fullmatch(name) else None
        account = Account.of_row(dict(row)) if row else None
        if account is None or row is None or not account.local or account.disabled_at:
            await _verified(gate, gate.dummy, password)
            return "wrong"
        if account.locked(now):
            return "locked"
        step = await _checked(gate, row, password, code, now)
        if step is None:
            await _fail(tx, account, now, place)
        else:
            await tx.execute(SQL["note_sign_in"], account.account_id, step)
            entered = await _begin(tx, account, now, place)
    gate.nudge()
    return "wrong" if step is None else entered


async def _checked(gate: Gate, row: asyncpg.Record, password: str, code: str, now: datetime) -> int | None:
    """Return the time step of a good code (0 where a one-time password needs none); None when something is wrong."""
    right = await _verified(gate, row["password_hash"], password)
    if row["one_time"]:
        return 0 if right else None
    secret = gate.key.open(row["account_id"], bytes(row["totp_sealed"]))
    step = matching_step(secret, code, row["totp_step"], now)
    return step if right else None


def matching_step(secret: str, code: str, after: int, now: datetime) -> int | None:
    """Return the time step whose code this is, later than `after` (no code works twice); None when there is none."""
    at = int(now.timestamp()) // STEP_S
    totp = pyotp.TOTP(secret)
    digits = code.replace(" ", "")
    steps = [step for step in range(at - DRIFT, at + DRIFT + 1) if step > after]
    return next((s for s in steps if secrets.compare_digest(totp.generate_otp(s).encode(), digits.encode())), None)


async def _verified(gate: Gate, password_hash: str, password: str) -> bool:
    try:
        return await aside(gate.hasher.verify, password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


async def _fail(tx: Connection, account: Account, now: datetime, place: str) -> None:
    failures, until = model.after_failure(account, now)
    await tx.execute(SQL["set_failures"], account.account_id, failures, until)
    await store.record(tx, account, "locked" if until else "sign_in_failed", now, access_point=place)


async def _begin(tx: Connection, account: Account, now: datetime, place: str) -> Entered:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    await store.open_session(tx, account, token, now, enrolling=account.one_time)
    await store.record(tx, account, "signed_in", now, access_point=place, role=account.role)
    return Entered(account, token, account.one_time)


async def enter_known(gate: Gate, tx: Connection, account: Account, place: str) -> Entered:
    """Begin the session of somebody whom the identity provider vouches for."""
    return await _begin(tx, account, gate.clock(), place)


async def leave(gate: Gate, account: Account, token: str) -> None:
    """Sign out."""
    async with gate.pool.acquire() as tx, tx.transaction():
        await tx.execute(SQL["delete_session"], store.digest(token))
        await store.record(tx, account, "signed_out", gate.clock())
    gate.nudge()


async def factor(gate: Gate, account: Account) -> str:
    """Return the second factor's secret of an account that is being set up, made when it is first asked for."""
    async with gate.pool.acquire() as tx, tx.transaction():
        row = await tx.fetchrow(SQL["account_of_id"], account.account_id)
        assert row is not None
        if row["totp_sealed"] is not None:
            return gate.key.open(account.account_id, bytes(row["totp_sealed"]))
        secret = pyotp.random_base32()
        await tx.execute(SQL["set_factor"], account.account_id, gate.key.seal(account.account_id, secret))
        return secret


def provisioning_uri(account: Account, secret: str) -> str:
    """Return what an authenticator app scans."""
    return pyotp.TOTP(secret).provisioning_uri(name=account.name, issuer_name=ISSUER)


async def enrol(gate: Gate, account: Account, token: str, password: str, code: str) -> Entered | str:
    """Set the person's own password and second factor; return a new session, or the text key of what is wrong."""
    now = gate.clock()
    secret = await factor(gate, account)
    async with gate.pool.acquire() as tx, tx.transaction():
        row = await tx.fetchrow(SQL["account_of_id"], account.account_id)
        assert row is not None
        old = await _verified(gate, row["password_hash"], password)
        if fault := model.password_fault(account.name, password, old=old):
            return fault
        step = matching_step(secret, code, row["totp_step"], now)
        if step is None:
            return "code_wrong"
        made = await aside(gate.hasher.hash, password)
        await tx.execute(SQL["enrol"], account.account_id, made, step)
        await tx.execute(SQL["delete_session"], store.digest(token))
        await store.record(tx, account, "enrolled", now)
        fresh = secrets.token_urlsafe(TOKEN_BYTES)
        await store.open_session(tx, account, fresh, now, enrolling=False)
    gate.nudge()
    return Entered(account, fresh, enrolling=False)

"""Signing in: name, password and second factor at once, one answer for every fault, five tries; and the first time.

No connection is held while a password is hashed: who is signed in needs them meanwhile.
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

from services.console import model, store, tries
from services.console.keys import ConsoleKey
from services.console.model import Account, Refusal, Tries
from services.console.store import SQL
from services.console.tries import Tried
from services.runtime.clock import Clock
from services.runtime.passwords import aside
from services.runtime.postgres import Connection
from services.runtime.rates import Rates

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
    rates: Rates
    """How often one address may try."""


@dataclass(frozen=True)
class Entered:
    """Somebody is in: `token` is for the cookie; `enrolling` when all that is open is the page of the first time."""

    account: Account
    token: str
    enrolling: bool


async def enter(gate: Gate, name: str, password: str, code: str, place: str) -> Entered | Refusal:
    """Sign a local account in. `wrong` says nothing of what was wrong; `locked` that the name was tried too often.

    A name there is not is hashed for, counted and answered like one there is.
    """
    now = gate.clock()
    tried = Tried(gate.key.mac(name), model.neighbourhood(place))
    here = await tries.begin(gate.pool, tried, now)
    if here is None:
        return "locked"
    seen = await _seen(gate, name)
    right = await _verified(gate, seen["password_hash"] if seen else gate.dummy, password)
    async with gate.pool.acquire() as tx, tx.transaction():
        row = await _still(tx, seen)
        step = _step(gate, row, code, now) if row and right else None
        if row is None or step is None:
            await _fail(tx, tried, here, seen, now, place)
            entered = None
        else:
            await tx.execute(SQL["note_sign_in"], row["account_id"], step)
            await tries.entered(tx, tried, now)
            entered = await _begin(tx, Account.of_row(dict(row)), now, place)
    gate.nudge()
    return entered or "wrong"


async def _seen(gate: Gate, name: str) -> asyncpg.Record | None:
    """Return the row of an account that may sign in here; None for any other name."""
    row = await gate.pool.fetchrow(SQL["account_of_name"], name) if model.NAME.fullmatch(name) else None
    return row if row and row["subject"] is None and row["disabled_at"] is None else None


async def _still(tx: Connection, seen: asyncpg.Record | None) -> asyncpg.Record | None:
    """Return the row again, locked; None when it was closed or got another password while this one was hashed."""
    row = await tx.fetchrow(SQL["account_of_id"], seen["account_id"]) if seen else None
    same = row and seen and row["password_hash"] == seen["password_hash"] and row["disabled_at"] is None
    return row if same else None


def _step(gate: Gate, row: asyncpg.Record, code: str, now: datetime) -> int | None:
    """Return the time step of a good code (0 where a one-time password needs none); None for a wrong one."""
    if row["one_time"]:
        return 0
    secret = gate.key.open(row["account_id"], bytes(row["totp_sealed"]))
    return matching_step(secret, code, row["totp_step"], now)


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


async def _fail(
    tx: Connection, tried: Tried, here: Tries, seen: asyncpg.Record | None, now: datetime, place: str
) -> None:
    closed = await tries.failed(tx, tried, now) or here.locked(now)
    if seen:
        account = Account.of_row(dict(seen))
        await store.record(tx, account, "locked" if closed else "sign_in_failed", now, access_point=place)


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

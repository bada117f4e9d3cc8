"""Making accounts: by the privacy officer on the console's page, and the first ones from a file at the start.

A password that somebody else made is one-time: it opens only the page that sets the person's own and a second factor.
Whoever made it may be the one who uses it, so another officer confirms the account: destruction takes two (clause 7.3).
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from services.console import model, store, tries
from services.console.model import NAME, Account, Role, standing
from services.console.signin import Gate
from services.console.store import SQL
from services.runtime.passwords import aside
from services.runtime.postgres import Connection

PASSWORD_BYTES: Final = 12
VOUCHED: Final = "sso."
"""How the names of accounts of the identity provider begin; no local one may."""


class AccountError(Exception):
    """It is not done with an account; `code` is a text key of why: `name_invalid`, `name_taken`, `role_unknown` …"""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Made:
    """A one-time password, told once."""

    name: str
    password: str


def existing_role(gate: Gate, role: str) -> tuple[Role, str | None]:
    """Return (role, affiliate) of a role as it is written; raise AccountError for one that nobody can have here."""
    try:
        wanted = standing(role)
    except ValueError:
        raise AccountError("role_unknown") from None
    if wanted[1] is not None and wanted[1] not in gate.affiliates:
        raise AccountError("role_unknown")
    return wanted


async def add(
    gate: Gate, name: str, wanted: tuple[Role, str | None], by: Account | None, password: str | None = None
) -> Made:
    """Make a local account; raise AccountError. A password that is given is one-time too. `by` nobody: the first."""
    if by:
        _require_confirmed(by)
    if not NAME.fullmatch(name) or name.startswith(VOUCHED):
        raise AccountError("name_invalid")
    chosen = password or secrets.token_urlsafe(PASSWORD_BYTES)
    made = await aside(gate.hasher.hash, chosen)
    async with gate.pool.acquire() as tx, tx.transaction():
        if await store.create(tx, name, wanted, gate.clock(), password_hash=made, by=by) is None:
            raise AccountError("name_taken")
    gate.nudge()
    return Made(name, chosen)


async def renew(gate: Gate, tx: Connection, account: Account, by: Account) -> Made:
    """Give an account a new one-time password: a lost telephone, a forgotten password. Raises AccountError."""
    _require_confirmed(by)
    chosen = secrets.token_urlsafe(PASSWORD_BYTES)
    made = await aside(gate.hasher.hash, chosen)
    await store.reset(tx, account, made, gate.clock(), by.name)
    await tries.forget(tx, gate.key.mac(account.name))
    return Made(account.name, chosen)


async def confirm(gate: Gate, tx: Connection, account: Account, by: Account) -> None:
    """Note that another person than made it knows who uses an account. Raises AccountError for who may not say so."""
    if fault := model.confirm_fault(account, by):
        raise AccountError(fault)
    await store.confirm(tx, account, gate.clock(), by.name)


def _require_confirmed(by: Account) -> None:
    """Raise AccountError for somebody unconfirmed: the person behind it would make a second one, and vouch for both."""
    if by.vouched_by is not None:
        raise AccountError("unconfirmed")


async def ensure_first(gate: Gate, path: Path) -> None:
    """Make those of a file's accounts that are not there: `{"cpo": {"role": "cpo", "password": "…"}}`.

    Raises ValueError for a file of another shape: the process does not start with half of its accounts.
    """
    wanted = orjson.loads(await aside(path.read_bytes))
    present = {row["name"] for row in await gate.pool.fetch(SQL["list_accounts"])}
    for name, told in wanted.items():
        if name not in present:
            try:
                await add(gate, name, existing_role(gate, told["role"]), None, told["password"])
            except (AccountError, KeyError, TypeError) as error:
                if isinstance(error, AccountError) and error.code == "name_taken":
                    continue  # another console process was first
                raise ValueError(f"{path}: the account {name[:63]} is not well described") from error

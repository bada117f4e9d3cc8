"""Who may sign in: the privacy officer makes accounts, gives roles, closes accounts; another officer confirms them.

Each step is in the audit log.
"""

import uuid
from typing import Any, Final

from fastapi import APIRouter, Response

from services.console import admin, store, tries
from services.console.apis import RefusedError
from services.console.desk import Form, Sent, Somebody, Visit, to
from services.console.model import PAGES, ROLES, Account
from services.console.signin import Gate
from services.console.store import SQL

router = APIRouter()
CHOICES: Final = tuple(role for role in ROLES if role != "affiliate")


@router.get("/accounts")
async def accounts(visit: Somebody) -> Response:
    """Show every account."""
    visit.require(*PAGES["accounts"])
    return visit.page("accounts.html", **await _accounts(visit))


async def _accounts(visit: Visit) -> dict[str, Any]:
    rows = await visit.desk.gate.pool.fetch(SQL["list_accounts"])
    affiliates = tuple(f"affiliate:{a}" for a in sorted(visit.desk.gate.affiliates))
    return {
        "accounts": [Account.of_row(dict(r)) for r in rows],
        "choices": (*CHOICES, *affiliates),
        "made": None,
        "locked": await _locked(visit.desk.gate, [r["name"] for r in rows]),
    }


async def _locked(gate: Gate, names: list[str]) -> set[str]:
    macs = {gate.key.mac(name): name for name in names}
    return {macs[mac] for mac in await tries.closed(gate.pool, list(macs), gate.clock())}


@router.post("/accounts")
async def create(visit: Somebody, form: Sent) -> Response:
    """Make an account; its one-time password is shown once."""
    by = visit.require("cpo")
    try:
        made = await admin.add(
            visit.desk.gate, form.text("name", 63), admin.existing_role(visit.desk.gate, form.text("role")), by
        )
    except admin.AccountError as error:
        return await _refused(visit, error.code)
    return visit.page("accounts.html", **{**await _accounts(visit), "made": made})


@router.post("/accounts/{account_id}/{verb}")
async def change(visit: Somebody, account_id: uuid.UUID, verb: str, form: Sent) -> Response:
    """Confirm, give another role, close, open again, make a new one-time password: nobody for their own account."""
    by = visit.require(*(PAGES["accounts"] if verb == "confirm" else ("cpo",)))
    if str(account_id) == by.account_id:
        return await _refused(visit, "own_account")
    try:
        made = await _changed(visit.desk.gate, account_id, verb, form, by)
    except admin.AccountError as error:
        return await _refused(visit, error.code)
    return visit.page("accounts.html", **{**await _accounts(visit), "made": made}) if made else to("/accounts")


async def _changed(gate: Gate, account_id: uuid.UUID, verb: str, form: Form, by: Account) -> admin.Made | None:
    """Do it; return the one-time password if that is what was made. Raises AccountError for what may not be."""
    made = None
    async with gate.pool.acquire() as tx, tx.transaction():
        row = await tx.fetchrow(SQL["account_of_id"], str(account_id))
        if row is None:
            return None
        account, at = Account.of_row(dict(row)), gate.clock()
        if verb == "role":
            await store.change_role(tx, account, admin.existing_role(gate, form.text("role")), at, by.name)
        elif verb in {"disable", "enable"}:
            await store.set_disabled(tx, account, at, by.name, disabled=verb == "disable")
        elif verb == "reset" and account.local:
            made = await admin.renew(gate, tx, account, by)
        elif verb == "confirm":
            await admin.confirm(gate, tx, account, by)
    gate.nudge()
    return made


async def _refused(visit: Visit, code: str) -> Response:
    refusal = RefusedError(422, code, visit.words.t(f"account.{code}"))
    return visit.refused("accounts.html", refusal, **await _accounts(visit))

"""Who may sign in: the privacy officer makes accounts, gives roles, closes accounts. Each step is in the audit log."""

import uuid
from typing import Any, Final

from fastapi import APIRouter, Response

from services.console import admin, store
from services.console.apis import RefusedError
from services.console.desk import Sent, Somebody, Visit, to
from services.console.model import ROLES, Account, standing
from services.console.store import SQL

router = APIRouter()
CHOICES: Final = tuple(role for role in ROLES if role != "affiliate")


@router.get("/accounts")
async def accounts(visit: Somebody) -> Response:
    """Show every account."""
    visit.require("cpo")
    return visit.page("accounts.html", **await _accounts(visit))


async def _accounts(visit: Visit) -> dict[str, Any]:
    rows = await visit.desk.gate.pool.fetch(SQL["list_accounts"])
    affiliates = tuple(f"affiliate:{a}" for a in admin.affiliates())
    now = visit.desk.gate.clock()
    return {
        "accounts": [Account.of_row(dict(r)) for r in rows],
        "choices": (*CHOICES, *affiliates),
        "made": None,
        "now": now,
    }


@router.post("/accounts")
async def create(visit: Somebody, form: Sent) -> Response:
    """Make an account; its one-time password is shown once."""
    by = visit.require("cpo").name
    name = form.text("name", 63)
    try:
        made = await admin.add(visit.desk.gate, name, standing(form.text("role")), by)
    except (admin.AccountError, ValueError) as error:
        code = error.code if isinstance(error, admin.AccountError) else "role_unknown"
        refusal = RefusedError(422, code, visit.words.t(f"account.{code}"))
        return visit.refused("accounts.html", refusal, **await _accounts(visit))
    return visit.page("accounts.html", **{**await _accounts(visit), "made": made})


@router.post("/accounts/{account_id}/{verb}")
async def change(visit: Somebody, account_id: uuid.UUID, verb: str, form: Sent) -> Response:
    """Give another role, close, open again, or make a new one-time password. Nobody does it to their own account."""
    by = visit.require("cpo")
    gate = visit.desk.gate
    if str(account_id) == by.account_id:
        refusal = RefusedError(403, "own_account", visit.words.t("account.own_account"))
        return visit.refused("accounts.html", refusal, **await _accounts(visit))
    made = None
    async with gate.pool.acquire() as tx, tx.transaction():
        row = await tx.fetchrow(SQL["account_of_id"], str(account_id))
        if row is None:
            return to("/accounts")
        account, at = Account.of_row(dict(row)), gate.clock()
        if verb == "role":
            await store.change_role(tx, account, standing(form.text("role")), at, by.name)
        elif verb in {"disable", "enable"}:
            await store.set_disabled(tx, account, at, by.name, disabled=verb == "disable")
        elif verb == "reset" and account.local:
            made = await admin.renew(gate, tx, account, by.name)
    gate.nudge()
    return visit.page("accounts.html", **{**await _accounts(visit), "made": made}) if made else to("/accounts")

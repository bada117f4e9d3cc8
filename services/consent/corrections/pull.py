"""A third party pulls a notice (5.7): the values it may have NOW, and never without a ledger row and a register entry.

What is pulled is a disclosure like any other: a later correction finds its holder by that row.
"""

from typing import Any

import asyncpg

from services.consent import disclosures, records, register, store
from services.consent.corrections.register import KIND, notice_not_found
from services.consent.handlers import Consent
from services.consent.model import ENDED
from services.consent.records import LedgerRow
from services.consent.store import SQL, Loaded
from services.keyring.derive import MemberKeys
from services.policy import ids
from services.policy.disclosure import may_have
from services.policy.model import Rules
from services.runtime.postgres import Connection
from services.runtime.problem import Problem


async def shown(consent: Consent, notice_id: str) -> dict[str, Any]:
    """Return a notice without values: what staff and services may see. Problem 404."""
    row = await consent.pool.fetchrow(SQL["read_notice"], notice_id)
    if row is None:
        raise notice_not_found()
    return {"recipient": row["recipient"], **_told(row)}


async def pulled(consent: Consent, notice_id: str, recipient: str) -> dict[str, Any]:
    """Return a recipient's notice with the values of those items that it holds and may have now.

    An item that is neither in `values` nor `withheld` is empty now. Problem 404 for a notice of somebody else's, 410
    `member_left` once the member has withdrawn or is erased.
    """
    async with consent.pool.acquire() as tx, tx.transaction():
        row = await tx.fetchrow(SQL["read_notice"], notice_id)
        if row is None or row["recipient"] != recipient:
            raise notice_not_found()
        loaded = await _present(tx, row["member_ref"])
        items = allowed(consent.rules, recipient, row["items"], loaded)
        present = records.texts(loaded.member)
        values = {item: present[item] for item in items if item in present}
        await _note(consent, tx, row, values)
    consent.nudge()
    return {**_told(row), "values": values, "withheld": sorted(set(row["items"]) - set(items))}


def allowed(rules: Rules, recipient: str, items: list[str], loaded: Loaded) -> list[str]:
    """Return those items of a notice that the ledger says the recipient may still hold, and that it may be given."""
    member = loaded.member
    held = [item for item in items if (recipient, item) in loaded.third_parties]
    return [item for item in held if may_have(rules, item, member.in_force, member.suspended)]


async def _present(tx: Connection, ref: str) -> Loaded:
    """Read the member so that no correction can slip between the values read and the ledger row."""
    await tx.execute("SELECT 1 FROM member WHERE member_ref = $1 FOR UPDATE", ref)
    found = await store.read(tx, ref)
    if found is None or found[0].member.status in ENDED:
        ko, en = (
            "탈퇴한 회원의 값은 제공하지 않습니다.",
            "The member has left: no value is given any more. Delete yours.",
        )
        raise Problem(410, "member_left", ko, en)
    return found[0]


async def _note(consent: Consent, tx: Connection, row: asyncpg.Record, values: dict[str, str]) -> None:
    at, ref = consent.clock(), row["member_ref"]
    if values:
        data_key = await consent.keyring.data_key(ref)
        given = records.commitments(MemberKeys(data_key), values)
        told = LedgerRow(row["recipient"], "third_party", "recipient", given, "correction", ids.NOTIFY)
        await disclosures.write(tx, ref, told, at)
    codes = {"by": row["recipient"], "values": str(len(values))}
    await register.append(tx, KIND, row["notice_id"], "pulled", at, actor="service", member_ref=ref, codes=codes)


def _told(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "notice_id": row["notice_id"],
        "change_id": row["change_id"],
        "member_ref": row["member_ref"],
        "sequence": row["seq"],
        "items": row["items"],
        "corrected_at": row["created_at"],
        "outcome": row["outcome"],
    }

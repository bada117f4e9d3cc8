"""The one oracle: what HTTP accepted, against every store, the third party and the audit log.

0 missing, 0 stale, 0 double notices, exact sequences. It reads the databases as their owners would, and the
expected rows come from `expected.py`, never from the product.
"""

import asyncio
import json
from collections import Counter
from typing import Any

import asyncpg
import httpx

from tests.support.expected import AFFILIATES, PARTNER, Expected

SETTLE_TIMEOUT_S = 90.0


class Oracle:
    """Compares one running system with what was accepted. `described` is the JSON of `dongui dev env`."""

    def __init__(self, described: dict[str, Any], received: Any) -> None:
        self._databases = described["databases"]
        self._received = received

    async def settled(self, expected: Expected, *, timeout_s: float = SETTLE_TIMEOUT_S) -> list[str]:
        """Wait until nothing differs; return what still differs after `timeout_s` (empty = all as promised)."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        found = await self.differences(expected)
        while found and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.5)
            found = await self.differences(expected)
        return found

    async def differences(self, expected: Expected) -> list[str]:
        """Return every difference as one line without values."""
        found: list[str] = []
        for affiliate in AFFILIATES:
            found += await self.store_differences(affiliate, expected)
        found += await self._consent(expected)
        found += await self._audit(expected)
        found += await self._partner(expected)
        return found

    async def store_differences(self, affiliate: str, expected: Expected) -> list[str]:
        connection = await asyncpg.connect(self._databases["affiliates"][affiliate])
        try:
            refs = list(expected.people)
            members = await connection.fetch("SELECT * FROM member WHERE member_ref = ANY($1::uuid[])", refs)
            processed = await connection.fetch(
                "SELECT * FROM processed_member WHERE member_ref = ANY($1::uuid[])", refs
            )
            gaps = await connection.fetchval("SELECT count(*) FROM gap WHERE member_ref = ANY($1::uuid[])", refs)
        finally:
            await connection.close()
        rows = {str(r["member_ref"]): dict(r) for r in members}
        items = {str(r["member_ref"]): dict(r) for r in processed}
        found = [f"{affiliate}: {gaps} gaps"] if gaps else []
        for ref, person in expected.people.items():
            found += _compare(f"{affiliate} member {ref}", person.member_row(affiliate), _plain(rows.get(ref)))
            found += _compare(f"{affiliate} processed {ref}", person.processed_row(affiliate), _plain(items.get(ref)))
        return found

    async def _consent(self, expected: Expected) -> list[str]:
        """Every change in order without a hole; every delivery answered; `prev` chains end where stores are."""
        connection = await asyncpg.connect(self._databases["consent"])
        try:
            refs = list(expected.people)
            rows = await connection.fetch(
                "SELECT change_id::text, member_ref::text, seq FROM change WHERE member_ref = ANY($1::uuid[])", refs
            )
            waiting = await connection.fetch(
                "SELECT recipient, count(*) FROM delivery JOIN change USING (change_id)"
                " WHERE member_ref = ANY($1::uuid[]) AND stage IN ('accepted', 'relayed') GROUP BY 1",
                refs,
            )
        finally:
            await connection.close()
        found = [f"consent: {r['count']} deliveries of {r['recipient']} unanswered" for r in waiting]
        if {r["change_id"]: (r["member_ref"], r["seq"]) for r in rows} != expected.changes:
            found.append("consent: changes differ from what was accepted")
        return found

    async def _audit(self, expected: Expected) -> list[str]:
        """One leaf per accepted fact, no other fact of these members, at most one answer per change and recipient."""
        connection = await asyncpg.connect(self._databases["audit"])
        try:
            rows = await connection.fetch(
                "SELECT change_id::text, seq, stage, recipient, type FROM entry WHERE member_ref = ANY($1::uuid[])"
                " AND change_id IS NOT NULL",
                list(expected.people),
            )
        finally:
            await connection.close()
        facts = Counter(r["change_id"] for r in rows if r["stage"] is None)
        answers = Counter((r["change_id"], r["recipient"]) for r in rows if r["stage"] is not None)
        found = [f"audit: fact {c} missing" for c in expected.changes if c not in facts]
        found += [f"audit: fact {c} logged {n} times" for c, n in facts.items() if n > 1]
        found += [f"audit: unexplained fact {c}" for c in facts if c not in expected.changes]
        found += [f"audit: {n} answers for one delivery" for n in answers.values() if n > 1]
        return found

    async def _partner(self, expected: Expected) -> list[str]:
        """Exactly one notice per change and partner, with exactly the values owed."""
        told: dict[str, list[dict[str, Any]]] = {}
        for notice in await self._received():
            told.setdefault(notice["data"]["change_id"], []).append(notice)
        mine = {c: n for c, n in told.items() if c in expected.changes}
        found = [f"{PARTNER}: notice of {c} missing" for c in expected.notices if c not in mine]
        found += [f"{PARTNER}: unexplained notice of {c}" for c in mine if c not in expected.notices]
        for change_id, notices in mine.items():
            if len({n["data"]["notice_id"] for n in notices}) > 1 or len(notices) > 1:
                found.append(f"{PARTNER}: {len(notices)} notices of {change_id}")
            if any(n["data"]["values"] != expected.notices.get(change_id) for n in notices):
                found.append(f"{PARTNER}: notice of {change_id} has other values")
        return found


def _plain(row: dict[str, Any] | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {k: json.loads(v) if k in ("marketing", "items") and isinstance(v, str) else v for k, v in row.items()}


def _compare(what: str, wanted: dict[str, Any] | None, found: dict[str, Any] | None) -> list[str]:
    if wanted is None or found is None:
        return [] if wanted is found else [f"{what}: {'missing' if found is None else 'should not be there'}"]
    different = sorted(k for k, v in wanted.items() if found[k] != v)
    if "password_hash" in found:
        hashed = (found["password_hash"] or "").startswith("$argon2id$")
        different += [] if hashed == (wanted["email"] is not None) else ["password_hash"]
    return [f"{what}: {', '.join(different)} differ"] if different else []


async def received_from(url: str) -> list[dict[str, Any]]:
    """Ask the partner what it was told."""
    async with httpx.AsyncClient(timeout=10) as client:
        answer = await client.get(url)
        answer.raise_for_status()
        return [one["message"] for one in answer.json()["received"]]

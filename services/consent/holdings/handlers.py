"""Reads what affiliates must hold: digests of many members in one statement, records of a few."""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.consent import store
from services.consent.handlers import Consent
from services.consent.holdings.remade import STOPS, Holding, Told, remake
from services.consent.store import SQL
from services.policy import ids
from services.runtime.outbox import Record
from services.runtime.postgres import Connection
from services.runtime.problem import Problem

MEMBERS_MAX: Final = 500
MEMBERS_AT_ONCE: Final = 50_000
"""What one statement looks at; more parts than that allows are left to the next request."""


async def digests(
    consent: Consent, affiliate: str, after: str | None, until: str | None, size: int, parts: int, salt: str
) -> dict[str, Any]:
    """Return ranges of `size` members each, in order, with how many of them have rows and the digest of those.

    `{"ranges": [{"after", "until", "last", "members", "digest"}], "next"}`: a range is the references above `after` up
    to `until`, `last` the last of the ledger's in it; `next` is where to go on. At the end it is None, and the last
    range goes on to the `until` that was asked for, or has none.
    """
    parts = max(1, min(parts, MEMBERS_AT_ONCE // size))
    asked = (affiliate, service_of(consent, affiliate), list(ids.PERMISSIONS), dict(STOPS))
    rows = await consent.pool.fetch(SQL["holdings_digests"], *asked, after, until, salt, size * parts, size)
    found, low = [], after
    for row in rows:
        told = {"members": row["members"], "digest": row["digest"], "last": row["until"]}
        found.append({"after": low, "until": row["until"], **told})
        low = row["until"]
    ended = sum(row["seen"] for row in rows) < size * parts
    if ended:  # a range of its own: every other ends with the reference of its last member, there or not in a store
        found.append(_empty(low, until))
    return {"ranges": found, "next": None if ended else low}


def _empty(after: str | None, until: str | None) -> dict[str, Any]:
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    return {"after": after, "until": until, "last": None, "members": 0, "digest": nothing}


async def page(consent: Consent, affiliate: str, after: str | None, limit: int) -> dict[str, Any]:
    """Return the records of the next members in order: `{"members": [...], "next"}`."""
    service_of(consent, affiliate)
    rows = await consent.pool.fetch(SQL["holdings_page"], affiliate, after, limit)
    refs = [row["member_ref"] for row in rows]
    return {"members": await of_members(consent, affiliate, refs), "next": refs[-1] if len(refs) == limit else None}


async def of_members(consent: Consent, affiliate: str, refs: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each member `{"member_ref", "seq", "records", "unanswered"}`, all of one instant.

    `seq` is the last the affiliate was told of, 0 for one it never was; `unanswered` are the changes it owes an answer.
    """
    service = service_of(consent, affiliate)
    async with consent.pool.acquire() as tx, tx.transaction(isolation="repeatable_read", readonly=True):
        found = await _holdings(tx, affiliate, service, refs)
        owed = _by_member(await tx.fetch(SQL["holdings_unanswered"], list(refs), affiliate))
    keys = await consent.keyring.data_keys(list(found))
    return [_shown(ref, found.get(ref), keys.get(ref), owed.get(ref, [])) for ref in refs]


async def unanswered(consent: Consent, affiliate: str, after: str | None, limit: int) -> dict[str, Any]:
    """Return the next changes that it owes an answer, in order of their ids: `{"changes": [...], "next"}`."""
    service_of(consent, affiliate)
    rows = await consent.pool.fetch(SQL["holdings_owing"], affiliate, after, limit)
    found = [{"member_ref": row["member_ref"], **_owed(row)} for row in rows]
    return {"changes": found, "next": rows[-1]["change_id"] if len(rows) == limit else None}


async def _holdings(tx: Connection, affiliate: str, service: str | None, refs: Sequence[str]) -> dict[str, Holding]:
    told = _by_member(await tx.fetch(SQL["holdings_told"], list(refs), affiliate, dict(STOPS)))
    found: dict[str, Holding] = {}
    for ref in refs:
        read = await store.read(tx, ref)
        held = read[0].member.held.get(affiliate) if read else None
        if read and held:
            found[ref] = Holding(affiliate, read[0].member, held, service, [_told(row) for row in told[ref]])
    return found


def _by_member(rows: Sequence[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row["member_ref"]].append(row)
    return found


def _told(row: Mapping[str, Any]) -> Told:
    known = {name: row[name] for name in ("change_id", "seq", "name", "rule", "status")}
    return Told(**known, at=row["accepted_at"], roles=tuple(row["roles"]), suspended=tuple(row["suspended"]))


def _shown(ref: str, holding: Holding | None, key: object, owed: Sequence[Any]) -> dict[str, Any]:
    made = remake(holding, key if isinstance(key, bytes) else None) if holding else []
    return {
        "member_ref": ref,
        "seq": holding.held.prev if holding else 0,
        "records": [_sent(record) for record in made],
        "unanswered": [_owed(row) for row in owed],
    }


def _owed(row: Any) -> dict[str, Any]:
    return {"change_id": row["change_id"], "seq": row["seq"], "at": row["accepted_at"]}


def _sent(record: Record) -> dict[str, Any]:
    return {"headers": record.headers, "value": base64.b64encode(record.payload).decode()}


def service_of(consent: Consent, affiliate: str) -> str | None:
    """Return the service an affiliate processes; Problem 404 for one the policy does not know."""
    found = consent.rules.affiliates.get(affiliate)
    if found is None:
        raise Problem(404, "affiliate_not_found", "그런 관계사가 없습니다.", "There is no such affiliate.")
    return found.processes

"""Disclosures to third parties: by item, with a commitment of the value given, so that a correction finds them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from uuid_utils import uuid7

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.receipts import DISCLOSURE_TYPE, DisclosureRecord
from schemas.topics import RECEIPTS
from services.consent import idempotency, ledger, records, store
from services.consent.bodies import DisclosureBody
from services.consent.handlers import Consent
from services.consent.idempotency import Answer, Key
from services.consent.model import Member
from services.consent.refusals import not_found
from services.keyring.derive import MemberKeys
from services.policy import decide as policy
from services.runtime.outbox import Record
from services.runtime.postgres import Connection
from services.runtime.problem import Problem

FOLDED = frozenset({"given", "told", "answer"})
"""Columns that the fold of the ledger reads and nobody is shown: commitments, and what came back."""


async def disclose(consent: Consent, ref: str, body: DisclosureBody, key: Key | None) -> Answer:
    """Record one disclosure. 409 unless the member is active; 422 for an unregistered recipient or an item not there.

    It changes no value, so the member's version stays: it leaves as a receipt, not as a fact.
    """
    _allowed(consent, body)
    at = consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        member = await _locked(connection, ref)
        row = await _ledger_row(consent, member, body)
        record = await write(connection, ref, row, at)
        answer = Answer(201, {"disclosure_id": record.disclosure_id, **_shown(record)})
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def write(tx: Connection, ref: str, row: records.LedgerRow, at: datetime) -> DisclosureRecord:
    """Write a ledger row that comes with no change, and hand its receipt to the outbox; return it."""
    record = _record(ref, row, at)
    await store.write_disclosure(tx, record, row, _carrier(record))
    return record


async def listed(consent: Consent, ref: str) -> dict[str, Any]:
    """Return every disclosure of a member, oldest first; 404 for an unknown member.

    `stale_items` names the items of which the recipient may still hold a value that was corrected since.
    """
    if await consent.pool.fetchval("SELECT 1 FROM member WHERE member_ref = $1", ref) is None:
        raise not_found()
    rows = await consent.pool.fetch(store.SQL["list_disclosures"], ref)
    stale = ledger.stale([ledger.given({**row, "items": row["given"]}) for row in rows])
    shown = [{name: value for name, value in row.items() if name not in FOLDED} for row in rows]
    return {"disclosures": [one | {"stale_items": items} for one, items in zip(shown, stale, strict=True)]}


def _allowed(consent: Consent, body: DisclosureBody) -> None:
    problems = policy.validate_disclosure(consent.rules, body.recipient, body.items, body.purpose, body.basis)
    if problems:
        errors = [{"pointer": p.pointer, "code": p.code, "known": list(p.known)} for p in problems]
        names = ", ".join(f"{p.pointer} ({p.code})" for p in problems)
        raise Problem(
            422,
            problems[0].code,
            f"제공 기록을 남길 수 없습니다: {names}",
            f"This disclosure cannot be recorded: {names}",
            errors=errors,
        )


async def _locked(connection: Connection, ref: str) -> Member:
    """Read the member so that no correction can slip between the values read and the ledger row."""
    await connection.execute("SELECT 1 FROM member WHERE member_ref = $1 FOR UPDATE", ref)
    found = await store.read(connection, ref)
    if found is None:
        raise not_found()
    member = found[0].member
    if member.status != "active":
        raise Problem(
            409,
            "member_not_active",
            "현재 상태에서는 제3자에게 새로 제공할 수 없습니다.",
            "Nothing new may be given to a third party in this status.",
        )
    return member


async def _ledger_row(consent: Consent, member: Member, body: DisclosureBody) -> records.LedgerRow:
    values = member.values()
    items = {resolved(values, name, i): "" for i, name in enumerate(body.items)}
    _refuse_suspended(member, items, body.purpose)
    data_key = await consent.keyring.data_key(member.member_ref)
    given = records.commitments(MemberKeys(data_key), {item: values[item] for item in items})
    return records.LedgerRow(body.recipient, "third_party", "recipient", given, body.purpose, body.basis)


def _refuse_suspended(member: Member, items: Iterable[str], purpose: str) -> None:
    """Raise Problem 409 for an item or a purpose whose processing the member had suspended in part (37(2))."""
    stopped = sorted({*items, purpose.upper()} & member.suspended)
    if stopped:
        names = ", ".join(stopped)
        raise Problem(
            409,
            "processing_suspended",
            f"처리가 정지된 항목이나 목적은 제공할 수 없습니다: {names}",
            f"Suspended items or purposes may not be given: {names}",
            suspended=stopped,
        )


def resolved(values: dict[str, Any], name: str, position: int) -> str:
    """Return the item's full name: as given, or the one `<service>.<name>` the member has."""
    if name in values:
        return name
    matches = [v for v in values if v.endswith(f".{name}")]
    if len(matches) == 1:
        return matches[0]
    code = "item_ambiguous" if matches else "item_absent"
    raise Problem(
        422,
        code,
        "이 회원에게 없는 항목이거나 서비스 이름(예: hypermeeting.phone)이 필요합니다.",
        "The member has no such item, or it needs its service (such as hypermeeting.phone).",
        errors=[{"pointer": f"/items/{position}", "code": code}],
    )


def _record(ref: str, row: records.LedgerRow, at: datetime) -> DisclosureRecord:
    return DisclosureRecord(
        disclosure_id=str(uuid7()),
        member_ref=ref,
        recipient=row.recipient,
        kind="third_party",
        role="recipient",
        items=tuple(sorted(row.items)),
        purpose=row.purpose,
        basis=row.basis,
        at=at,
    )


def _shown(record: DisclosureRecord) -> dict[str, Any]:
    return record.model_dump(mode="json", include={"recipient", "kind", "role", "items", "purpose", "basis", "at"})


def _carrier(record: DisclosureRecord) -> Record:
    envelope = Envelope(
        id=record.disclosure_id,
        type=DISCLOSURE_TYPE,
        source=records.SOURCE,
        subject=record.member_ref,
        sequence=1,
        previous=0,
        time=record.at,
        dataschema="urn:dongui:disclosure:v1",
        content_type="application/json",
        traceparent=None,
    )
    return Record(
        envelope.id,
        RECEIPTS,
        envelope.subject,
        envelope.type,
        codec.encode_clear(record, envelope),
        to_headers(envelope),
    )

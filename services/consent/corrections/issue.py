"""Issues the certificate of a change: who has answered, the leaves that prove it, the signature over all of it."""

import asyncio
import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import httpx
import structlog

from schemas.receipts import RECEIPT_TYPE, REGISTER_TYPE
from services.consent.changes import change_not_found
from services.consent.corrections import certificate
from services.consent.corrections.certificate import Answer, Leaf, Recipient
from services.consent.corrections.register import KIND as NOTICE
from services.consent.erasure.issue import Issuer
from services.consent.handlers import Consent
from services.consent.store import SQL
from services.policy.model import Rules
from services.runtime.problem import Problem

PAGE: Final = 1000
log = structlog.get_logger("certificates")


@dataclass(frozen=True)
class Issued:
    """A certificate: what it says, its signature, and the page that prints it."""

    document: dict[str, Any]
    jws: str
    page: str

    def shown(self) -> dict[str, Any]:
        """Return it as JSON: what `dongui audit verify` reads."""
        return {"certificate": self.document, "jws": self.jws}


@dataclass(frozen=True)
class Wanted:
    """An entry of the log that the certificate needs: which one of a change or a member, by what it says."""

    type: str
    says: Mapping[str, str | None]

    def of(self, entries: Iterable[Mapping[str, Any]]) -> int:
        """Return the index of the last entry that says it; Problem 409 while the log has none."""
        found = [e["index"] for e in entries if e["type"] == self.type and self._said(e["body"]["data"])]
        if not found:
            raise not_sealed_yet()
        return int(found[-1])

    def _said(self, data: Mapping[str, Any]) -> bool:
        return all(data.get(name) == value for name, value in self.says.items())


async def issue(consent: Consent, issuer: Issuer, change_id: str) -> Issued:
    """Return the certificate of a change.

    Problem 404 for none, 409 `change_not_converged` naming who has not answered, 409 `not_sealed_yet` until the log has
    signed what it proves, 503 without a key or without the audit service.
    """
    signer = issuer.required()
    change = await consent.pool.fetchrow(SQL["certificate_change"], change_id)
    if change is None:
        raise change_not_found()
    rows = await consent.pool.fetch(SQL["certificate_recipients"], change_id)
    _refuse_unanswered(rows)
    if change["leaf_index"] is None:
        raise not_sealed_yet()
    async with _audit(issuer) as audit:
        told = await _document(audit, change, rows, consent.rules.version)
    jws = signer.sign(told, certificate.TYPE)
    return Issued(told, jws, certificate.page(told, jws, _names(consent.rules, told["change"]["items"])))


def _refuse_unanswered(rows: Sequence[asyncpg.Record]) -> None:
    missing = [row for row in rows if not row["answered"]]
    if not missing:
        return
    who = ", ".join(f"{row['recipient']} ({row['stage']})" for row in missing)
    raise Problem(
        409,
        "change_not_converged",
        f"아직 답하지 않은 곳이 있습니다: {who}",
        f"Not everyone has answered: {who}",
        missing=[{"id": row["recipient"], "kind": row["kind"], "stage": row["stage"]} for row in missing],
    )


def not_sealed_yet() -> Problem:
    """The answer while the audit log has no checkpoint over what the certificate proves."""
    ko, en = "감사 기록의 서명을 기다리는 중입니다. 잠시 후 다시 시도해 주세요.", "The audit log has not signed it yet."
    return Problem(409, "not_sealed_yet", ko, f"{en} Ask again in a moment.", headers={"Retry-After": "1"})


def audit_unavailable() -> Problem:
    """The answer while the audit service, which has the proofs, does not answer or is not set up."""
    ko, en = (
        "감사 서비스가 답하지 않아 증명을 받을 수 없습니다.",
        "The audit service, which has the proofs, gives no answer.",
    )
    return Problem(503, "audit_unavailable", ko, en, headers={"Retry-After": "5"})


def _audit(issuer: Issuer) -> httpx.AsyncClient:
    client = issuer.audit()
    if client is None:
        raise audit_unavailable()
    return client


@dataclass(frozen=True)
class Places:
    """Where in the log the proofs of one recipient's part stand."""

    receipt: int
    newer: int | None
    entry: int | None


async def _document(
    audit: httpx.AsyncClient, change: asyncpg.Record, rows: Sequence[asyncpg.Record], policy_version: str
) -> dict[str, Any]:
    head = await _get(audit, "/v1/audit/checkpoint", {})
    places = [await _places(audit, change, row) for row in rows]
    wanted = {change["leaf_index"], *(i for p in places for i in (p.receipt, p.newer, p.entry) if i is not None)}
    if max(wanted) >= head["size"]:
        raise not_sealed_yet()
    found = await asyncio.gather(*(_leaf(audit, index, head["size"]) for index in sorted(wanted)))
    leaves = {leaf.index: leaf for leaf in found}
    recipients = [_recipient(change, row, place, leaves) for row, place in zip(rows, places, strict=True)]
    return certificate.document(dict(change), recipients, leaves[change["leaf_index"]], head["note"], policy_version)


async def _places(audit: httpx.AsyncClient, change: asyncpg.Record, row: asyncpg.Record) -> Places:
    """Look up the receipt, that of the newer change which overtook it, and staff's entry of the answer."""
    who = row["recipient"]
    said = Wanted(RECEIPT_TYPE, {"recipient": who, "stage": row["stage"], "outcome": row["outcome"]})
    newer = Wanted(RECEIPT_TYPE, {"recipient": who, "stage": row["newer_stage"], "outcome": row["newer_outcome"]})
    entry = Wanted(REGISTER_TYPE, {"kind": NOTICE, "subject": row["notice_id"], "state": "answered"})
    of_change, of_newer = {"change_id": change["change_id"]}, {"change_id": row["newer_change"]}
    of_member = {"member_ref": change["member_ref"], "type": REGISTER_TYPE}
    return Places(
        receipt=said.of(await _entries(audit, of_change)),
        newer=newer.of(await _entries(audit, of_newer)) if row["newer_change"] else None,
        entry=entry.of(await _entries(audit, of_member)) if row["answered_via"] == "staff" else None,
    )


def _recipient(change: asyncpg.Record, row: asyncpg.Record, place: Places, leaves: Mapping[int, Leaf]) -> Recipient:
    answer = Answer(change["change_id"], row["stage"], row["outcome"], row["reason"], leaves[place.receipt])
    newer = (row["newer_change"], row["newer_stage"], row["newer_outcome"], row["newer_reason"])
    return Recipient(
        id=row["recipient"],
        kind=row["kind"],
        at=row["at"],
        answer=answer,
        via=row["answered_via"],
        evidence=row["evidence"],
        entry=leaves[place.entry] if place.entry is not None else None,
        newer=Answer(*newer, leaves[place.newer]) if place.newer is not None else None,
    )


async def _entries(audit: httpx.AsyncClient, asked: Mapping[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = "-1"
    while cursor is not None:
        page = await _get(audit, "/v1/audit/entries", {**asked, "cursor": cursor, "limit": str(PAGE)})
        found += page["entries"]
        cursor = page["next"]
    return found


async def _leaf(audit: httpx.AsyncClient, index: int, size: int) -> Leaf:
    found = await _get(audit, f"/v1/audit/entries/{index}/proof", {"tree_size": str(size)})
    return Leaf(index, base64.b64decode(found["body_base64"]).decode(), tuple(found["path"]))


async def _get(audit: httpx.AsyncClient, path: str, asked: Mapping[str, str]) -> Any:
    """Return the JSON of a 200; Problem 409 before the first checkpoint, 503 for every other answer or none."""
    try:
        answer = await audit.get(path, params=dict(asked))
        if answer.status_code == httpx.codes.CONFLICT:
            raise not_sealed_yet()
        answer.raise_for_status()
        return answer.json()
    except (httpx.HTTPError, ValueError) as error:
        log.warning("proof_unavailable", error=type(error).__name__)
        raise audit_unavailable() from error


def _names(rules: Rules, items: Iterable[str]) -> dict[str, str]:
    """Return the Korean names of recipients and of these items, where the policy has one."""
    parties = {who: party.ko for who, party in rules.affiliates.items()}
    parties |= {who: party.ko for who, party in rules.third_parties.items()}
    known = {item: rules.items.get(item.rpartition(".")[2]) for item in items}
    return parties | {item: found.ko for item, found in known.items() if found is not None}

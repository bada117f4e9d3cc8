"""Clause 3.3-2: what agencies asked for, what the law lets be given, what was given, and the half-yearly report.

Nobody is told: no notice, no event on an affiliate's topic, no row in the disclosure ledger a member or an access
answer shows. The audit log gets `restricted` entries with a salted digest of the row and nothing else.
"""

import hashlib
import secrets
import uuid
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

import asyncpg
import orjson
from uuid_utils import uuid7

from schemas.receipts import RESTRICTED
from services.consent import duties, idempotency, register
from services.consent.handlers import Consent, not_found
from services.consent.idempotency import Answer, Key
from services.consent.refusals import field
from services.consent.registers.bodies import FollowingPaperBody, InvestigationBody, ProvisionBody, ReportBody
from services.consent.store import SQL
from services.policy.duties import all_duties
from services.policy.investigations import Assessment, Paper, Request, assess, bounds, end_of, half_of, has_run_out, law
from services.runtime.clock import KST
from services.runtime.postgres import Connection
from services.runtime.problem import Problem

PAGE: Final = 200
URGENT: Final = "urgent_request"
REPORT_DUTY: Final = "investigation_report"
PAPER_DUTY: Final = "investigation_paper"
SALT_BYTES: Final = 32
_NAMESPACE: Final = uuid.UUID("a3c9f7c4-4f0b-5d6d-8d0e-61f8f5d2b9aa")
_PROVEN: Final = (
    "investigation_id",
    "received_at",
    "agency",
    "basis",
    "purpose",
    "paper",
    "member_ref",
    "requested",
    "allowed",
    "denied",
    "refusal",
    "state",
    "provided",
    "form",
    "restrictions",
    "decided_at",
    "decided_by",
    "paper_number",
)


async def record(consent: Consent, body: InvestigationBody, by: str, key: Key | None) -> Answer:
    """Enter a request with what may be given of it. One that allows nothing is denied there and then.

    Raises Problem 422 for an unknown item or an instant to come, 404 for a member there is not.
    """
    at = consent.clock()
    _checked(body, at)
    found = _assessed(body)
    ref, salt = str(uuid7()), secrets.token_bytes(SALT_BYTES)
    closed = None if found.allowed else at
    keep = law().keep_until(at) if closed else None
    paper = body.paper.model_dump(mode="json")
    asked = (body.agency, body.basis, body.purpose, paper, body.member_ref, body.items)
    answers = (list(found.allowed), dict(found.denied), found.refusal, "denied" if closed else "open")
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        await _known(connection, body.member_ref)
        row = (ref, body.received_at, by, *asked, *answers, closed, by if closed else None, keep, salt)
        await connection.execute(SQL["investigation_insert"], *row)
        answer = Answer(201, await _entered(connection, ref, at))
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def decide(consent: Consent, ref: str, body: ProvisionBody, by: str, key: Key | None) -> Answer:
    """Give some of what may be given, or nothing. Problem 404; 409 when decided; 422 for what may not be given now."""
    at = consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        row = await _locked(connection, ref)
        _may_provide(row, body, at)
        provided = sorted(set(body.provide))
        state = "provided" if provided else "denied"
        decision = (state, provided, body.form, body.restrictions, at, by, law().keep_until(at))
        await connection.execute(SQL["investigation_decide"], ref, *decision)
        if provided and row["paper"]["kind"] == URGENT:
            await duties.open_duty(connection, PAPER_DUTY, ref, at)
        answer = Answer(200, await _entered(connection, ref, at))
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def take_paper(consent: Consent, ref: str, body: FollowingPaperBody, key: Key | None) -> Answer:
    """Note the paper that followed an urgent provision. 409 where none is awaited."""
    at = consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        row = await _locked(connection, ref)
        if row["state"] != "provided" or row["paper"]["kind"] != URGENT or row["paper_number"]:
            raise _conflict(
                "no_paper_awaited", "뒤따를 서면이 없는 요청입니다.", "No paper is awaited for this request."
            )
        await connection.execute(SQL["investigation_paper"], ref, body.number, at)
        await duties.close_duty(connection, PAPER_DUTY, ref, at, "received")
        answer = Answer(200, await _entered(connection, ref, at))
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def shown(consent: Consent, ref: str) -> dict[str, Any]:
    """Return one request; 404 for none."""
    row = await consent.pool.fetchrow(SQL["investigation_read"], ref)
    if row is None:
        raise investigation_not_found()
    return _shown(row)


async def listed(consent: Consent, after: int) -> dict[str, Any]:
    """Return requests in order of entry, up to 200 behind a cursor."""
    rows = await consent.pool.fetch(SQL["investigation_list"], after, PAGE)
    return {"requests": [_shown(r) for r in rows], "next": rows[-1]["position"] if len(rows) == PAGE else None}


async def report(consent: Consent, half: str) -> dict[str, Any]:
    """Return the figures of a half-year (decided in it, KST), by basis and agency, and by when they are reported."""
    start, end, due_on = _bounds(half)
    rows = await consent.pool.fetch(SQL["investigation_figures"], start, end)
    filed = await consent.pool.fetchrow(SQL["investigation_report_read"], half)
    totals = {name: sum(row[name] for row in rows) for name in ("requests", "provided", "denied")}
    return {
        "half": half,
        "due_on": due_on,
        **totals,
        "lines": [dict(row) for row in rows],
        "reported_at": filed["reported_at"] if filed else None,
        "reference": filed["reference"] if filed else None,
    }


async def file_report(consent: Consent, body: ReportBody, by: str, key: Key | None) -> Answer:
    """Note that a half-year's report was filed. 409 before the half is over, and for one filed already."""
    at = consent.clock()
    if at < _bounds(body.half)[1]:
        raise _conflict("half_not_over", "아직 끝나지 않은 반기입니다.", "This half-year is not over yet.")
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        filed = await connection.execute(SQL["investigation_report_insert"], body.half, body.reference, at, by)
        if filed != "INSERT 0 1":
            raise _conflict("report_filed", "이미 보고한 반기입니다.", "This half-year's report was filed already.")
        await open_report(connection, body.half)
        await duties.close_duty(connection, REPORT_DUTY, report_id(body.half), at, "reported")
        codes = {"half": body.half}
        await register.append(
            connection, "investigation_report", report_id(body.half), "reported", at, actor="staff", codes=codes
        )
        answer = Answer(201, {"half": body.half, "reported_at": at.isoformat()})
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def open_report(tx: Connection, half: str) -> None:
    """Open the duty to report a half-year, counted from its end; again changes nothing."""
    await duties.open_duty(tx, REPORT_DUTY, report_id(half), end_of(half))


def report_id(half: str) -> str:
    """Return the id by which a half-year's report is known."""
    return str(uuid.uuid5(_NAMESPACE, half))


def digest(row: Mapping[str, Any]) -> str:
    """Return the hex SHA-256 of a register row with its salt: what the audit log keeps of it.

    The salt is in no answer and no entry: who reads both cannot try the few values that the row may have. A row from
    before there were salts is proven without one.
    """
    proven = {name: row[name] for name in _PROVEN}
    if row["salt"] is not None:
        proven["salt"] = row["salt"].hex()
    return hashlib.sha256(orjson.dumps(proven, option=orjson.OPT_SORT_KEYS)).hexdigest()


def investigation_not_found() -> Problem:
    """The answer for a request there is not."""
    return Problem(404, "investigation_not_found", "요청 기록을 찾을 수 없습니다.", "There is no such request.")


async def _entered(tx: Connection, ref: str, at: datetime) -> dict[str, Any]:
    """Prove the row as it is now in the audit log, and see that its half-year is reported once it is decided."""
    row = await tx.fetchrow(SQL["investigation_read"], ref)
    assert row is not None  # written in this transaction
    codes = {"sha256": digest(dict(row))}
    await register.append(tx, RESTRICTED, ref, "entered", at, actor="staff", codes=codes)
    if row["decided_at"] is not None:
        await open_report(tx, half_of(row["decided_at"]))
    told = _shown(row)
    # The stored answer of an Idempotency-Key is no second register: it names nobody.
    told.pop("member_ref")
    return dict(orjson.loads(orjson.dumps(told)))


async def _locked(tx: Connection, ref: str) -> asyncpg.Record:
    row = await tx.fetchrow(SQL["investigation_lock"], ref)
    if row is None:
        raise investigation_not_found()
    return row


async def _known(tx: Connection, member_ref: str | None) -> None:
    if member_ref is not None and await tx.fetchrow(SQL["read_member"], member_ref) is None:
        raise not_found()


def _checked(body: InvestigationBody, at: datetime) -> None:
    known = law().items
    for position, item in enumerate(body.items):
        if item not in known:
            listed_items = ", ".join(sorted(known))
            raise field(
                422,
                "unknown_item",
                f"/items/{position}",
                f"알 수 없는 항목입니다. 가능한 값: {listed_items}",
                f"Unknown item. Choose from: {listed_items}",
            )
    if body.received_at > at:
        ko, en = "접수 시각은 지금보다 늦을 수 없습니다.", "It cannot have been received in the future."
        raise field(422, "received_in_future", "/received_at", ko, en)


def _assessed(body: InvestigationBody) -> Assessment:
    sheet = body.paper
    paper = Paper(sheet.kind, frozenset(sheet.states), frozenset(sheet.names), sheet.valid_until)
    found = assess(law(), Request(body.agency, body.basis, body.purpose, paper, body.items, body.received_at))
    if body.member_ref is not None:
        return found
    return Assessment((), {**found.denied, **dict.fromkeys(found.allowed, "not_held")}, found.refusal)


def _may_provide(row: asyncpg.Record, body: ProvisionBody, at: datetime) -> None:
    if row["state"] != "open":
        raise _conflict("already_decided", "이미 결정한 요청입니다.", "This request is decided already.")
    if body.provide and has_run_out(_last_day(row["paper"]), at.astimezone(KST).date()):
        raise field(
            422,
            "paper_expired",
            "/provide",
            "서면의 유효기간이 지났습니다. 제공하지 않기로 결정하고, 새 서면은 새 요청으로 접수해 주세요.",
            "The paper has run out. Decline this request, and enter a new paper as a new one.",
        )
    for position, item in enumerate(body.provide):
        if item not in row["allowed"]:
            raise field(
                422,
                "item_not_allowed",
                f"/provide/{position}",
                "이 근거와 서면으로는 제공할 수 없는 항목입니다.",
                "The basis and the paper do not allow this item.",
            )


def _last_day(paper: Mapping[str, Any]) -> date | None:
    stated = paper.get("valid_until")
    return date.fromisoformat(stated) if stated else None


def _bounds(half: str) -> tuple[datetime, datetime, date]:
    """Return the first instant of a half-year, the first after it, and the last day to report it."""
    try:
        return *bounds(half), all_duties()[REPORT_DUTY].due_on(end_of(half))
    except ValueError as error:
        raise field(422, "half_invalid", "/half", "반기는 2026H1처럼 씁니다.", "A half-year is like 2026H1.") from error


def _conflict(code: str, ko: str, en: str) -> Problem:
    return Problem(409, code, ko, en)


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    told = {name: row[name] for name in (*_PROVEN, "keep_until", "paper_received_at")}
    return {"id": told.pop("investigation_id"), **told}

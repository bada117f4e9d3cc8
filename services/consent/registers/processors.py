"""Clause 4: the public list of processors, their yearly checks, and telling members when a marketing task changes.

Who they are and which contract binds them is policy data (`rules/processors.toml`); a flow without a contract is
refused by `services.policy.decide` (rule 4.3-contract), not here.
"""

import uuid
from datetime import datetime
from typing import Any, Final

from uuid_utils import uuid7

from services.consent import duties, idempotency, register
from services.consent.handlers import Consent
from services.consent.idempotency import Answer, Key
from services.consent.messages.queue import queue
from services.consent.refusals import field
from services.consent.registers.bodies import CheckBody
from services.consent.store import SQL
from services.policy.processors import Processor
from services.runtime.postgres import Connection
from services.runtime.problem import Problem

CHECK_DUTY: Final = "processor_check"
PAGE: Final = 500
_NAMESPACE: Final = uuid.UUID("c1f6b6f0-5f2b-5c3e-8a4e-5e0d7e3a2b10")


async def listed(consent: Consent) -> dict[str, Any]:
    """Return every processor with its tasks, its contract in force, its last check and by when the next is due."""
    checks = {row["processor"]: row for row in await consent.pool.fetch(SQL["processor_checks"])}
    due = {row["subject"]: row["due_on"] for row in await consent.pool.fetch(SQL["processor_duties"])}
    at = consent.clock()
    shown = []
    for processor in consent.rules.processors.values():
        last = checks.get(processor.id)
        subject = _subject(processor.id, last["check_id"] if last else None)
        seen = {"last_checked_at": last["checked_at"] if last else None, "check_due_on": due.get(subject)}
        shown.append({**_described(consent, processor, at), **seen})
    return {"policy_version": consent.rules.version, "processors": shown}


async def record_check(consent: Consent, processor: str, body: CheckBody, by: str, key: Key | None) -> Answer:
    """Note a check of a processor and count to the next. 404 for no processor, 422 for an instant to come."""
    at = consent.clock()
    checked_at = body.checked_at or at
    if processor not in consent.rules.processors:
        raise Problem(404, "processor_not_found", "수탁자를 찾을 수 없습니다.", "There is no such processor.")
    if checked_at > at:
        ko, en = "점검 시각은 지금보다 늦을 수 없습니다.", "A check cannot lie in the future."
        raise field(422, "checked_in_future", "/checked_at", ko, en)
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        answer = await _checked(connection, processor, body, checked_at, at, by)
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def open_checks(consent: Consent, tx: Connection, at: datetime) -> None:
    """See that every processor has a check ahead: a year from its last one, or from now when there was none."""
    checks = {row["processor"]: row for row in await tx.fetch(SQL["processor_checks"])}
    for processor in consent.rules.processors:
        last = checks.get(processor)
        since = last["checked_at"] if last else at
        await duties.open_duty(tx, CHECK_DUTY, _subject(processor, last["check_id"] if last else None), since)


async def detect_changes(consent: Consent, tx: Connection, at: datetime) -> list[str]:
    """Compare marketing tasks with what members were last told; return the processors to tell of (PIPA 26(3)).

    The first look tells nobody: it is what the policy said when they joined.
    """
    await tx.execute(SQL["registers_lock"])
    told = {row["processor"]: row["digest"] for row in await tx.fetch(SQL["processor_told"])}
    changed = []
    for processor in consent.rules.processors.values():
        now = processor.marketing_sha256()
        if now is None or told.get(processor.id) == now:
            continue
        await tx.execute(SQL["processor_tell"], processor.id, now)
        if told:
            await tx.execute(SQL["processor_change_insert"], str(uuid7()), processor.id, now, at)
            changed.append(processor.id)
    return changed


async def tell_members(tx: Connection, at: datetime) -> bool:
    """Queue the messages of one page of members for the oldest change; False when nothing is left to tell."""
    change = await tx.fetchrow(SQL["processor_change_next"])
    if change is None:
        return False
    rows = await tx.fetch(SQL["processor_members"], change["last_ref"], PAGE)
    data = {"processor": change["processor"], "changed_on": change["detected_at"]}
    for row in rows:
        unique = f"processor_change/{change['change_id']}/{row['member_ref']}"
        await queue(tx, "processor_change", row["member_ref"], data, unique, at)
    done = at if len(rows) < PAGE else None
    last = rows[-1]["member_ref"] if rows else None
    await tx.execute(SQL["processor_change_step"], change["change_id"], last, done)
    if done is not None:
        codes = {"processor": change["processor"]}
        await register.append(tx, "processor", change["change_id"], "told", at, actor="system", codes=codes)
    return True


async def _checked(
    tx: Connection, processor: str, body: CheckBody, checked_at: datetime, at: datetime, by: str
) -> Answer:
    await tx.execute(SQL["registers_lock"])
    last = {row["processor"]: row for row in await tx.fetch(SQL["processor_checks"])}.get(processor)
    check_id = str(uuid7())
    await tx.execute(SQL["processor_check_insert"], check_id, processor, checked_at, body.outcome, body.reference, by)
    codes = {"processor": processor, "outcome": body.outcome}
    await register.append(tx, "processor_check", check_id, "checked", at, actor="staff", codes=codes)
    told: dict[str, Any] = {"check_id": check_id, "processor": processor, "outcome": body.outcome}
    if last is not None and last["checked_at"] >= checked_at:
        return Answer(201, told)  # entered late: the clock runs from the later check
    await duties.close_duty(tx, CHECK_DUTY, _subject(processor, last["check_id"] if last else None), at, body.outcome)
    due_on = await duties.open_duty(tx, CHECK_DUTY, _subject(processor, check_id), checked_at)
    return Answer(201, {**told, "next_due_on": due_on.isoformat()})


def _described(consent: Consent, processor: Processor, at: datetime) -> dict[str, Any]:
    company = consent.rules.affiliates[processor.id]
    contract = processor.contract(at)
    return {
        "id": processor.id,
        "ko": company.ko,
        "en": company.en,
        "service": company.processes,
        "tasks": [task.model_dump() for task in processor.tasks],
        "contract": contract.model_dump(mode="json", exclude={"terms"}) if contract else None,
    }


def _subject(processor: str, last_check: str | None) -> str:
    """Return the id of the duty to check a processor after its last check, or for the first time."""
    return str(uuid.uuid5(_NAMESPACE, f"{processor}/{last_check or 'first'}"))

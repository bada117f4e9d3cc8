"""Statutory records come in (clause 2.1) and are shown to the person they are about (decree 6 of the e-commerce act).

A record holds the identification of the party as of now and the fields its class allows, sealed under the member's key.
"""

from datetime import date, datetime
from typing import Annotated, Any, Final

import asyncpg
import orjson
from pydantic import AfterValidator, AllowInfNan, Field, StrictBool, StrictFloat, StrictInt, StringConstraints
from uuid_utils import uuid7

from schemas.events import RecordClass
from services.consent import idempotency, register, sealing, store
from services.consent.bodies import Body, one_error
from services.consent.handlers import Caller, Consent
from services.consent.idempotency import Answer, Key
from services.consent.model import Member, refuse_ended
from services.consent.refusals import field, not_found
from services.consent.registers.bodies import UNSTORABLE, Past
from services.consent.retained import label_of
from services.consent.store import SQL
from services.keyring import derive
from services.keyring.keyring import Found
from services.policy.retention import Kept, KeptClass, NotKeptError, all_classes, kept
from services.runtime.clock import KST
from services.runtime.fields import COUNT_MAX
from services.runtime.postgres import Connection
from services.runtime.problem import Problem

NIL: Final = "00000000-0000-0000-0000-000000000000"
PAGE: Final = 500
FIELDS_MAX: Final = 40


def _storable(text: str) -> str:
    if UNSTORABLE.search(text):
        raise ValueError("a control character")
    return text


FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
FieldText = Annotated[str, StringConstraints(max_length=4000), AfterValidator(_storable)]
Whole = Annotated[StrictInt, Field(ge=-COUNT_MAX, le=COUNT_MAX)]
Decimal = Annotated[StrictFloat, AllowInfNan(False)]
FieldValue = Annotated[
    StrictBool | Whole | Decimal | FieldText, one_error("value_invalid", "a text, a number, true or false")
]


class RecordBody(Body):
    """POST /v1/members/{ref}/records. `occurred_at` is the class's anchor: the payment made, the dispute closed."""

    record_class: RecordClass = Field(alias="class")
    occurred_at: Past
    fields: dict[FieldName, FieldValue] = Field(
        max_length=FIELDS_MAX, json_schema_extra={"additionalProperties": False}
    )


async def take(consent: Consent, ref: str, body: RecordBody, caller: Caller, key: Key | None) -> Answer:
    """Keep one statutory record: 201 `{"record_id", "class", "destroy_on", …}`.

    Raises Problem 404 for an unknown member, 409 for one who has left, 422 for a field the class may not hold, an
    instant to come, or a period that is over already.
    """
    at = consent.clock()
    of = all_classes()[body.record_class]
    found = _kept(of, body, at)
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        member = await _locked(connection, ref)
        refuse_ended(member)
        record_id = await _write(consent, connection, member, body, found, caller)
        answer = Answer(201, {"record_id": record_id, **_told(of, body.occurred_at, found)})
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def keep(consent: Consent, tx: Connection, ref: str, body: RecordBody, caller: Caller) -> None:
    """Keep a record that arises here, in the caller's transaction; of somebody who has left, without name and e-mail.

    Once the member's records are on their way to the retention database none is taken: it would stay behind.
    """
    found = _kept(all_classes()[body.record_class], body, consent.clock())
    member = await _locked(tx, ref)
    if not await tx.fetchval(SQL["record_too_late"], ref):
        await _write(consent, tx, member, body, found, caller)


def _kept(of: KeptClass, body: RecordBody, at: datetime) -> Kept:
    if refused := of.not_allowed(body.fields):
        raise _not_allowed(of, refused)
    if body.occurred_at > at:
        ko, en = "발생 시각은 지금보다 늦을 수 없습니다.", "A record cannot lie in the future."
        raise field(422, "occurred_in_future", "/occurred_at", ko, en)
    try:
        found = kept(of, body.occurred_at)
    except NotKeptError:
        found = None
    if found is None or found.destroy_on <= at.astimezone(KST).date():
        ko, en = "보존 기간이 이미 끝난 기록입니다.", "The period of keeping this record is over."
        raise field(422, "keeping_over", "/occurred_at", ko, en)
    return found


def _not_allowed(of: KeptClass, names: list[str]) -> Problem:
    errors = [{"pointer": f"/fields/{name}", "code": "field_not_allowed"} for name in names]
    allowed = sorted(of.party | of.fields)
    return Problem(
        422,
        "field_not_allowed",
        "이 종류의 기록에 보존할 수 없는 항목이 있습니다.",
        "The record holds fields that its class may not keep.",
        errors=errors,
        allowed=allowed,
    )


async def _locked(tx: Connection, ref: str) -> Member:
    """No record slips in behind the hand-over of an erasure: both hold the member's row."""
    await tx.execute("SELECT 1 FROM member WHERE member_ref = $1 FOR UPDATE", ref)
    found = await store.read(tx, ref)
    if found is None:
        raise not_found()
    return found[0].member


async def _write(
    consent: Consent, tx: Connection, member: Member, body: RecordBody, found: Kept, caller: Caller
) -> str:
    record_id, at = str(uuid7()), consent.clock()
    content = orjson.dumps(_content(all_classes()[body.record_class], member, body))
    data_key = await consent.keyring.data_key(member.member_ref)
    sealed = sealing.seal(data_key, member.member_ref, label_of(record_id), content)
    row = (record_id, member.member_ref, body.record_class, body.occurred_at, found.destroy_on, found.rule.id)
    await tx.execute(SQL["record_insert"], *row, sealed, caller.name, at)
    codes = {"class": body.record_class, "rule": found.rule.id, "destroy_on": found.destroy_on.isoformat()}
    told = ("statutory_record", record_id, "recorded", at)
    await register.append(tx, *told, actor=caller.actor, member_ref=member.member_ref, codes=codes)
    return record_id


def _content(of: KeptClass, member: Member, body: RecordBody) -> dict[str, dict[str, str]]:
    """The account's name and e-mail identify the party, unless the record names another (a delivery's addressee)."""
    texts = {name: value if isinstance(value, str) else str(value) for name, value in body.fields.items()}
    account = {"name": member.name, "email": member.email}
    party = {name: value for name, value in account.items() if name in of.party and value is not None}
    party |= {name: value for name, value in texts.items() if name in of.party}
    return {"party": party, "fields": {n: v for n, v in texts.items() if n not in of.party}}


def _told(of: KeptClass, occurred_at: datetime, found: Kept) -> dict[str, Any]:
    """Until when, by which rule, and why that one: every rule that was in force with its own last day."""
    return {
        "class": of.id,
        "occurred_at": occurred_at.astimezone(KST).isoformat(),
        "last_day": found.last_day.isoformat(),
        "destroy_on": found.destroy_on.isoformat(),
        "rule": {"id": found.rule.id, "statute": found.rule.statute, "clause": found.rule.clause},
        "anchor": of.anchor_ko,
        "considered": [{"rule": rule.id, "last_day": day.isoformat()} for rule, day in found.candidates],
    }


async def listed(consent: Consent, ref: str) -> dict[str, Any]:
    """Return a member's records: content of those that are here, `kept_in` retention for those that have moved."""
    async with consent.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        if await connection.fetchval("SELECT 1 FROM member WHERE member_ref = $1", ref) is None:
            raise not_found()
        rows = await connection.fetch(SQL["record_list"], ref)
    data_key = await _key_now(consent, ref)
    return {"records": [_shown(row, ref, data_key) for row in rows]}


async def _key_now(consent: Consent, ref: str) -> Found:
    """The member's own key, or from the hand-over on the one of the records alone."""
    own = derive.handover_ref(ref)
    keys = await consent.keyring.data_keys([ref, own])
    return keys[own] if isinstance(keys[own], bytes) else keys[ref]


def _shown(row: asyncpg.Record, ref: str, data_key: Found) -> dict[str, Any]:
    """The content is here, in the retention database, or gone with the key."""
    content: dict[str, Any] = {"kept_in": "retention" if row["sealed"] is None else "nowhere"}
    if row["sealed"] is not None and isinstance(data_key, bytes):
        plain = sealing.unseal(data_key, ref, label_of(row["record_id"]), row["sealed"])
        content = {"kept_in": "consent", **orjson.loads(plain)}
    told = {name: row[name] for name in ("record_id", "class", "occurred_at", "destroy_on", "rule")}
    return {**told, **content}


async def schedule(consent: Consent, until: date, after: str) -> dict[str, Any]:
    """Return what is to be destroyed here by the end of a day, or is `held`, earliest first, behind a cursor.

    No content.
    """
    day, _, record_id = after.partition("/")
    since = (date.fromisoformat(day), record_id) if record_id else (date.min, NIL)
    rows = await consent.pool.fetch(SQL["record_schedule"], until, *since, PAGE)
    last = rows[-1] if len(rows) == PAGE else None
    return {
        "records": [dict(row) for row in rows],
        "next": f"{last['destroy_on'].isoformat()}/{last['record_id']}" if last else None,
    }


__all__ = ["RecordBody", "listed", "schedule", "take"]

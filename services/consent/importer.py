"""An existing member base comes in: rows are parsed one by one, written in ONE transaction, answered one by one.

Sending the same rows again creates nothing: `import_origin` keeps, as HMACs, which row a member came from.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any

import orjson
from pydantic import ValidationError

from services.consent import age, agreed, idempotency, model, profiles, store
from services.consent.bodies import ImportRow
from services.consent.handlers import Caller, Consent, context_of, hash_password, new_member, outgoing
from services.consent.idempotency import Answer, Key
from services.consent.model import ConsentRef, Member
from services.consent.records import Context
from services.consent.store import SQL, Write
from services.keyring import derive
from services.runtime.postgres import Connection
from services.runtime.problem import Problem
from services.runtime.problems import pointer

Errors = list[dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """One good row on its way in: who it would become, and where it came from."""

    position: int
    member: Member
    given: tuple[ConsentRef, ...]
    context: Context
    email_index: bytes
    row_mac: bytes
    source_mac: bytes | None


async def take_in(consent: Consent, rows: Sequence[dict[str, Any]], caller: Caller, key: Key | None) -> Answer:
    """Return `{"rows": [{"row", "outcome": created|exists|error, "member_ref"?, "errors"?}]}`, in order.

    All that is good is committed together; a row's errors name pointers and codes, never values.
    """
    parsed = await asyncio.gather(*(_parsed(consent, caller, i, row) for i, row in enumerate(rows)))
    good = [row for row in parsed if isinstance(row, Row)]
    answers = {i: _refused(i, row) for i, row in enumerate(parsed) if not isinstance(row, Row)}
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        answers |= await _write(consent, connection, good)
        answer = Answer(200, {"rows": [answers[i] for i in range(len(rows))]})
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def _parsed(consent: Consent, caller: Caller, position: int, raw: dict[str, Any]) -> Row | Errors:
    try:
        body = ImportRow.model_validate(raw)
        return await _row(consent, caller, position, body, raw)
    except ValidationError as error:
        return [{"pointer": pointer(e["loc"]), "code": str(e["type"])} for e in error.errors()]
    except Problem as problem:
        return list(problem.extra["errors"])


async def _row(consent: Consent, caller: Caller, position: int, body: ImportRow, raw: dict[str, Any]) -> Row:
    now = consent.clock()
    at = (body.consented_at or now).astimezone(UTC)
    if at > now:
        raise _refusal("consented_at_in_future", "/consented_at")
    age.check_sign_up(body, now)
    version = agreed.notice(consent.rules, body.notice_version, at, body.notice_locale)
    given = agreed.at_sign_up(consent.rules, body.consents, body.notice_version)
    wanted = profiles.validated(consent.rules, {}, body.profiles)
    password_hash = body.password_hash or await hash_password(consent, body.password or "")
    evidence = replace(context_of(consent, caller, version), channel="import", given_at=at, collected_via=body.channel)
    return Row(
        position=position,
        member=new_member(body, password_hash, wanted, at, body.channel or "import"),
        given=given,
        context=evidence,
        email_index=derive.email_index(consent.index_key, body.email),
        row_mac=_mac(consent, b"row", orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)),
        source_mac=_mac(consent, b"source", body.source_id.encode()) if body.source_id else None,
    )


async def _write(consent: Consent, tx: Connection, rows: Sequence[Row]) -> dict[int, dict[str, Any]]:
    """Write what is new. Ordered by e-mail index, so that two imports at once wait and do not deadlock."""
    known = Known(await _seen(tx, rows), set(await _taken(tx, rows)))
    answers = {row.position: known.answer(row) for row in rows}
    fresh = [row for row in rows if answers[row.position]["outcome"] == "created"]
    ordered = sorted(fresh, key=lambda row: row.email_index)
    inserted = await store.insert_members(tx, [(row.member, row.email_index) for row in ordered])
    await _follow(consent, tx, [row for row in fresh if row.member.member_ref in inserted])
    lost = {row.member.member_ref for row in fresh} - inserted
    return {i: _email_taken(i) if answer.get("member_ref") in lost else answer for i, answer in answers.items()}


async def _follow(consent: Consent, tx: Connection, rows: Sequence[Row]) -> None:
    """All that a sign-up brings, for many; their keys first, in their own database."""
    if not rows:
        return
    keys = await consent.keyring.create_many([row.member.member_ref for row in rows])
    writes = [_change(consent, row, keys[row.member.member_ref]) for row in rows]
    await store.write_changes(tx, writes)
    refs = [row.member.member_ref for row in rows]
    await tx.execute(SQL["insert_origins"], refs, [r.row_mac for r in rows], [r.source_mac for r in rows])


def _change(consent: Consent, row: Row, data_key: bytes) -> Write:
    step = model.sign_up(row.member, row.given)
    return step, outgoing(consent.rules, step, {}, data_key, row.context), row.context


async def _seen(tx: Connection, rows: Sequence[Row]) -> dict[bytes, tuple[str, bytes | None]]:
    """Return origin MAC -> (member, its e-mail index now) for rows that came in before."""
    sources = [row.source_mac for row in rows if row.source_mac is not None]
    found = await tx.fetch(SQL["read_origins"], [row.row_mac for row in rows], sources)
    by_mac = [(mac, (o["member_ref"], o["email_index"])) for o in found for mac in (o["row_mac"], o["source_mac"])]
    return {mac: member for mac, member in by_mac if mac is not None}


async def _taken(tx: Connection, rows: Sequence[Row]) -> frozenset[bytes]:
    found = await tx.fetch(SQL["read_taken"], [row.email_index for row in rows])
    return frozenset(row["email_index"] for row in found)


@dataclass
class Known:
    """Who came in from which row, and which e-mails are taken: before this batch, and by its rows so far."""

    origins: dict[bytes, tuple[str, bytes | None]]
    """row or source MAC -> (member, its e-mail index now)"""
    taken: set[bytes]

    def answer(self, row: Row) -> dict[str, Any]:
        """Return the answer of one row, `created` for a new one, which is known from then on."""
        if found := self.origins.get(row.row_mac):
            return _outcome(row.position, "exists", found[0])
        if row.source_mac is not None and (found := self.origins.get(row.source_mac)):
            if found[1] == row.email_index:
                return _outcome(row.position, "exists", found[0])
            return _refused(row.position, [_error("source_id_taken", "/source_id")])
        if row.email_index in self.taken:
            return _email_taken(row.position)
        self._remember(row)
        return _outcome(row.position, "created", row.member.member_ref)

    def _remember(self, row: Row) -> None:
        self.taken.add(row.email_index)
        for mac in (row.row_mac, row.source_mac):
            if mac is not None:
                self.origins[mac] = (row.member.member_ref, row.email_index)


def _email_taken(position: int) -> dict[str, Any]:
    return _refused(position, [_error("email_taken", "/email")])


def _outcome(position: int, outcome: str, member_ref: str) -> dict[str, Any]:
    return {"row": position, "outcome": outcome, "member_ref": member_ref}


def _refused(position: int, errors: Errors) -> dict[str, Any]:
    return {"row": position, "outcome": "error", "errors": errors}


def _error(code: str, at: str) -> dict[str, str]:
    return {"pointer": at, "code": code}


def _refusal(code: str, at: str) -> Problem:
    return Problem(422, code, "", "", errors=[_error(code, at)])


def _mac(consent: Consent, kind: bytes, text: bytes) -> bytes:
    return hmac.digest(consent.index_key, b"dongui/import/" + kind + b"/v1\x00" + text, hashlib.sha256)

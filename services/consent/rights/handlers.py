"""The steps of a request: each locks it, asks the model, lets the effect happen, writes, records and tells, at once."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from services.consent import idempotency
from services.consent.duties import close_duty, open_duty
from services.consent.handlers import Consent
from services.consent.idempotency import Answer, Key
from services.consent.messages.queue import queue
from services.consent.model import Member, withdrawal_pending
from services.consent.paging import Place
from services.consent.refusals import account_unconfirmed
from services.consent.rights import answers, effects, evidence, model, refusals, scope, store
from services.consent.rights.access import Who
from services.consent.rights.answer import named, result_of
from services.consent.rights.bodies import DecideBody, DeferBody, ReleaseBody, ToldBody, VerifyBody
from services.consent.rights.model import Decision, Facts, Move, Request
from services.consent.rights.store import Hands
from services.policy.rights import DEFERRED, catalogue
from services.runtime.clock import KST
from services.runtime.postgres import Connection

MoveOf = Callable[[Connection, Request, datetime], Awaitable[Move]]


@dataclass(frozen=True)
class Command:
    """One call: who, on which request, under which key."""

    consent: Consent
    request_id: str
    who: Who
    key: Key | None


async def verify(command: Command, body: VerifyBody) -> Answer:
    """Record that the person, and an agent, are who they say (5.6); a suspension takes effect now."""

    async def move(_: Connection, request: Request, at: datetime) -> Move:
        return model.verify(request, at, of_agent=body.agent_method is not None)

    hands = Hands(verified_by=body.verified_by, method=body.method, agent_method=body.agent_method)
    codes = {"method": body.method, "agent_method": body.agent_method}
    return await _step(command, "verified", move, hands, codes)


async def defer(command: Command, body: DeferBody) -> Answer:
    """Put an access off, or record that the reason to has ended."""

    async def move(_: Connection, request: Request, at: datetime) -> Move:
        if body.reason is not None:
            return model.defer(catalogue(), request, body.reason, at)
        ended_at = body.reason_ended_at or at
        if ended_at > at:
            raise refusals.ended_in_future()
        return model.resume(request, ended_at)

    name = "deferred" if body.reason is not None else "deferral_ended"
    return await _step(command, name, move, Hands(), {"reason": body.reason})


async def decide(command: Command, body: DecideBody) -> Answer:
    """Answer the request: the effect and the message to the person are one transaction; its clock runs until told."""

    async def move(tx: Connection, request: Request, at: datetime) -> Move:
        member = await store.locked_member(tx, request.member_ref)
        present = scope.everything(command.consent.rules, request.type, member)
        decision = Decision(body.outcome, body.ground, body.statute, _items(command, request, body, member))
        facts = Facts(present, withdrawal_pending(member))
        decided = model.decide(catalogue(), request, decision, facts, at)
        if decided.selects and command.who.unconfirmed:
            raise account_unconfirmed()
        return decided

    codes = {"outcome": body.outcome, "ground": body.ground, "statute": body.statute}
    return await _step(command, "decided", move, Hands(decided_by=command.who.sub), codes)


async def withdraw(command: Command) -> Answer:
    """Take the request back."""

    async def move(_: Connection, request: Request, at: datetime) -> Move:
        return model.withdraw(request, at)

    return await _step(command, "withdrawn", move, Hands(), {})


async def release(command: Command, body: ReleaseBody | None) -> Answer:
    """Lift a granted suspension: for the member by its own token, for staff with how the identity was established."""

    async def move(_: Connection, request: Request, at: datetime) -> Move:
        return model.release(request, at)

    return await _step(command, "released", move, Hands(), {"method": body.method if body else "own_token"})


async def tell(command: Command, body: ToldBody) -> Answer:
    """Record that the person has been told the result, or the deferral, by other ways than our message."""

    async def move(_: Connection, request: Request, at: datetime) -> Move:
        return model.tell(request, at)

    return await _step(command, "done", move, Hands(told_by=body.told_by), {"told_by": body.told_by})


async def _step(command: Command, name: str, move_of: MoveOf, hands: Hands, codes: dict[str, str | None]) -> Answer:
    """The one way a request moves; `name` is the state of its register entry."""
    consent, who, at = command.consent, command.who, command.consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, command.key):
            return stored
        before, row = await store.lock(connection, command.request_id)
        who.check(row)
        move = await move_of(connection, before, at)
        name = "deferral_told" if name == "done" and before.state == "deferred" else name
        await _tell(connection, move.request, name, at)
        if name == "decided":
            await answers.keep(consent, connection, move.request, at)
        after, change_ids = await _effect(consent, connection, move, who, row)
        await store.write(connection, after, hands, change_ids)
        await _clocks(connection, after, name, at)
        await evidence.record(connection, after, name, who, at, **codes, **_changes(change_ids))
        _, written = await store.read(connection, after.id)
        answer = Answer(200, shown(written, at))
        await idempotency.remember(connection, command.key, answer)
    consent.nudge()
    return answer


async def _effect(
    consent: Consent, tx: Connection, move: Move, who: Who, row: asyncpg.Record
) -> tuple[Request, list[str]]:
    if move.effect is None:
        return move.request, []
    return await effects.apply(consent, tx, move.request, move.effect, who.sub, row["changes_sealed"])


def _changes(change_ids: list[str]) -> dict[str, str | None]:
    """The last change stands for all; the fact of each names its member and seq."""
    return {"change_id": change_ids[-1] if change_ids else None}


async def _clocks(tx: Connection, request: Request, name: str, at: datetime) -> None:
    """The ten days end when the person knows; the end of a deferral's reason starts another clock.

    Our message ends them when it has gone (messages/model.py: ends). Here: told by other ways, or the person's own act,
    which needs no word of ours.
    """
    if name == "deferral_ended":
        ended_at = request.reason_ended_at or at
        await open_duty(tx, DEFERRED, request.id, ended_at, member_ref=request.member_ref)
    known = {"done": request.outcome, "deferral_told": "deferred", "withdrawn": "withdrawn", "released": "released"}
    if outcome := known.get(name):
        for duty in catalogue().told(request.type, outcome):
            await close_duty(tx, duty, request.id, at, outcome)


async def _tell(tx: Connection, request: Request, name: str, at: datetime) -> None:
    """Queue the message that tells a result or a deferral; before the effect, which may end the membership."""
    outcome = {"decided": request.outcome, "deferred": "deferred", "released": "granted"}.get(name)
    if outcome is None:
        return
    type_ = "release" if name == "released" else request.type
    received_on = request.received_at.astimezone(KST).date()
    data = {"request_id": request.id, "type": type_, "outcome": outcome, "received_on": received_on}
    dedupe_key = f"rights_answer:{request.id}:{name}:{at.isoformat()}"
    await queue(tx, "rights_answer", request.member_ref, data, dedupe_key, at)


def _items(command: Command, request: Request, body: DecideBody, member: Member) -> frozenset[str] | None:
    """A partial decision names items as the request did: in full, or short where that says which."""
    if body.purposes is not None and request.type != "suspension":
        raise refusals.field_not_for_type("/purposes")
    if body.items is None and body.purposes is None:
        return None
    for position, purpose in enumerate(body.purposes or []):
        if purpose not in command.consent.rules.purposes:
            raise scope.unknown_purpose(command.consent.rules, position)
    asked, values = request.items or frozenset(), member.values()
    named = (scope.full_name(asked, values, item, position) for position, item in enumerate(body.items or []))
    return frozenset(named) | frozenset(body.purposes or [])


async def read(consent: Consent, request_id: str, who: Who) -> dict[str, Any]:
    """Return one request; Problem 404 for one the caller may not see."""
    _, row = await store.read(consent.pool, request_id)
    who.check(row)
    return shown(row, consent.clock())


async def listed(
    consent: Consent, who: Who, *, state: str | None, member_ref: str | None, place: Place
) -> dict[str, Any]:
    """Return requests in order of intake, up to 100 behind a cursor; a member's own, an affiliate's intake."""
    ref = who.member or member_ref
    states = list(model.TO_DO) if state == "open" else state and [state]
    rows = await consent.pool.fetch(place.query("rights_list"), place.start, states, ref, who.affiliate, store.PAGE)
    found = [shown(row, consent.clock()) for row in rows]
    return {"requests": found, "next": rows[-1]["position"] if len(rows) == store.PAGE else None}


def shown(row: asyncpg.Record, at: datetime) -> dict[str, Any]:
    """Return a request as callers see it: codes, dates and names of items; JSON types only."""
    request = store.request_of(row)
    late = request.state in model.OPEN - {"deferred"} and at.astimezone(KST).date() > row["due_on"]
    agent = request.agent
    told = {
        "id": request.id,
        "member_ref": request.member_ref,
        "type": request.type,
        "channel": request.channel,
        "state": request.state,
        "received_at": _text(request.received_at),
        "received_by": row["received_by"],
        "due_on": row["due_on"].isoformat(),
        "late": late,
        **named("", request.items),
        "agent": {"kind": agent.kind, "document": agent.document, "scope": list(agent.scope)} if agent else None,
        "verified_at": _text(request.verified_at),
        "deferral": request.deferral,
        "deferred_at": _text(request.deferred_at),
        "reason_ended_at": _text(request.reason_ended_at),
        "decided_at": _text(request.decided_at),
        "suspends": request.suspends if request.type == "suspension" else None,
        "change_ids": row["change_ids"],
        "ended_at": _text(request.ended_at),
    }
    return {name: value for name, value in told.items() if value is not None} | result_of(request)


def _text(at: datetime | None) -> str | None:
    return at.astimezone(KST).isoformat() if at else None

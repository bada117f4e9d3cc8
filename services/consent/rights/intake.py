"""A request comes in: its clock starts, nothing else happens yet (5.1, 5.2)."""

from datetime import datetime

import orjson
from uuid_utils import uuid7

from services.consent import age, disclosures, idempotency, profiles, sealing
from services.consent.duties import open_duty
from services.consent.handlers import Consent
from services.consent.idempotency import Answer, Key
from services.consent.model import Member, refuse_ended
from services.consent.rights import evidence, model, refusals, scope, steps, store
from services.consent.rights.access import Who
from services.consent.rights.bodies import RequestBody
from services.consent.rights.effects import CHANGES_LABEL
from services.consent.rights.model import Agent, Request
from services.consent.store import SQL
from services.policy.rights import catalogue
from services.runtime.clock import KST
from services.runtime.postgres import Connection

AGENT_LABEL = "rights-agent"
POLICY_START = datetime(2021, 2, 22, tzinfo=KST)


async def receive(consent: Consent, body: RequestBody, ref: str, who: Who, key: Key | None) -> Answer:
    """Take a request in and open its duty, which runs from the receipt whether or not the identity is known yet.

    201 `{"id", "state", "due_on"}`. Raises Problem 404 for an unknown member, 409 for a second open request of one
    type, 422 for fields that do not fit the type, an agent without mandate, a receipt in the future.
    """
    at = consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        member = await store.member(connection, ref)
        who.check_subject(member)
        request = _request(consent, body, member, who, at)
        answer = await _write(consent, connection, request, body, who, at)
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


def _request(consent: Consent, body: RequestBody, member: Member, who: Who, at: datetime) -> Request:
    _check_fields(consent, body, member, who)
    if body.changes is not None:
        age.check_given(age.given(body.changes.birth_date, body.changes.profiles or [], "/changes"), at)
    agent = _agent(body, member, at)
    return Request(
        id=str(uuid7()),
        member_ref=member.member_ref,
        type=body.type,
        channel=body.channel,
        received_at=_received_at(body, who, at),
        items=_items(consent, body, member),
        agent=agent,
    )


async def _write(
    consent: Consent, tx: Connection, request: Request, body: RequestBody, who: Who, at: datetime
) -> Answer:
    duty = catalogue().types[request.type].duty
    due_on = await open_duty(tx, duty, request.id, request.received_at, member_ref=request.member_ref)
    changes, name = await _sealed(consent, request, body)
    intake = store.Intake(who.affiliate, who.sub, at, due_on, changes, name)
    if not await store.insert(tx, request, intake):
        present = await tx.fetchval(SQL["rights_open"], request.member_ref, request.type)
        raise refusals.duplicate(None if who.affiliate else present)
    await evidence.record(tx, request, "received", who, at, due_on=due_on.isoformat(), received_by=who.affiliate)
    return Answer(201, {"id": request.id, "state": request.state, "due_on": due_on.isoformat()})


def _check_fields(consent: Consent, body: RequestBody, member: Member, who: Who) -> None:
    if who.member is not None and body.channel != "web":
        raise refusals.channel_not_yours()
    if body.type != "access":
        refuse_ended(member)
    if (body.changes is not None) != (body.type == "correction"):
        raise refusals.changes_required() if body.changes is None else refusals.field_not_for_type("/changes")
    if body.items is not None and body.type == "correction":
        raise refusals.field_not_for_type("/items")
    if body.purposes is not None and body.type != "suspension":
        raise refusals.field_not_for_type("/purposes")
    if body.type == "suspension" and steps.is_suspended(member):
        raise refusals.already_suspended()
    if body.changes is not None:
        profiles.validated(consent.rules, member.profiles, body.changes.profiles or [])


def _agent(body: RequestBody, member: Member, at: datetime) -> Agent | None:
    if body.agent is None:
        return None
    agent = Agent(body.agent.kind, body.agent.document or "", tuple(sorted(set(body.agent.scope))))
    minor = member.in_force == "pending_guardian" or age.is_child(member, at)
    model.check_agent(catalogue(), body.type, agent, minor=minor)
    return agent


def _received_at(body: RequestBody, who: Who, at: datetime) -> datetime:
    """A member's own request is received when it arrives here, whatever the member's clock says."""
    if who.member is not None or body.received_at is None:
        return at
    if body.received_at > at:
        raise refusals.received_in_future()
    if body.received_at < POLICY_START:
        raise refusals.received_before_policy()
    return body.received_at


def _items(consent: Consent, body: RequestBody, member: Member) -> frozenset[str] | None:
    if body.type == "suspension" and (body.items or body.purposes):
        return scope.suspended(consent.rules, member, body.items or [], body.purposes or [])
    if body.changes is not None:
        return scope.corrected(body.changes)
    if body.items is None:
        return None
    values = member.values()
    deletion = body.type == "deletion"
    return frozenset(
        item if deletion and _whole(consent, member, item) else disclosures.resolved(values, item, position)
        for position, item in enumerate(body.items)
    )


def _whole(consent: Consent, member: Member, item: str) -> bool:
    """Beside single items a deletion may name a whole service, or a class of records (`record.contract`)."""
    kept = any(item.removeprefix("record.") in s.records for s in catalogue().statutes.values())
    return (item in consent.rules.services and item in member.profiles) or (item.startswith("record.") and kept)


async def _sealed(consent: Consent, request: Request, body: RequestBody) -> tuple[bytes | None, bytes | None]:
    changes = orjson.dumps(body.changes.model_dump(mode="json", exclude_unset=True)) if body.changes else None
    name = body.agent.name.encode() if body.agent and body.agent.name else None
    if changes is None and name is None:
        return None, None
    ref = request.member_ref
    data_key = await store.data_key(consent.keyring, ref)
    return (
        sealing.seal(data_key, ref, f"{CHANGES_LABEL}/{request.id}", changes) if changes else None,
        sealing.seal(data_key, ref, f"{AGENT_LABEL}/{request.id}", name) if name else None,
    )

"""Pure: from a step and the policy's decision to the records that leave, the ledger rows and the deliveries.

Everything here is computed inside the one transaction that changes the member (design.md section 2.2).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
from uuid_utils import uuid7

from schemas import codec
from schemas.base import ActorKind, Channel, Marketing
from schemas.envelope import Envelope, to_headers
from schemas.events import (
    Addressee,
    ConsentItem,
    Fact,
    MemberPart,
    Notice,
    ProcessedPart,
    Projection,
    Stop,
    event_type,
)
from schemas.topics import FACTS, NOTICES, affiliate_topic
from services.consent.model import ConsentRef, HeldState, Member, Step
from services.keyring.derive import MemberKeys, format_kid
from services.policy.decide import MARKETING_PURPOSE, Decision, NoticeFor, Project, StopFor
from services.runtime.outbox import Record

Holdings = Mapping[tuple[str, str], frozenset[str]]
"""(third party, item) -> commitments of the values it may hold (`services.consent.ledger`)."""
Bases = Mapping[tuple[str, str], frozenset[str]]
"""(third party, item) -> the bases on which it was given what it holds."""

SOURCE = "/dongui/consent"
THIRD_PARTY_EPOCH = 1


@dataclass(frozen=True)
class Context:
    """Who did it, through which channel, when, under which policy and notice version.

    `given_at` and `collected_via` say when and how the consents were given, where that was earlier than `at`.
    """

    change_id: str
    at: datetime
    actor: ActorKind
    channel: Channel
    notice_version: str
    notice_hash: str
    policy_version: str
    traceparent: str | None = None
    given_at: datetime | None = None
    collected_via: Channel | None = None


@dataclass(frozen=True)
class LedgerRow:
    """One disclosure: items by name with commitments of the values given."""

    recipient: str
    kind: str
    role: str
    items: Mapping[str, str]
    purpose: str
    basis: str


@dataclass
class Outgoing:
    """All that one change writes besides the member itself."""

    fact: Fact
    records: list[Record] = field(default_factory=list)
    held: dict[str, HeldState] = field(default_factory=dict)
    ledger: list[LedgerRow] = field(default_factory=list)
    deliveries: list[tuple[str, str, str]] = field(default_factory=list)
    """(recipient, kind, record id)"""
    notices: list[Notice] = field(default_factory=list)


def commitments(keys: MemberKeys, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the keyed commitment of each item's value; lists are committed as compact JSON."""
    return keys.commitments(_texts(values))


def texts(member: Member) -> dict[str, str]:
    """Return every item value as a third party is told it; lists are compact JSON."""
    return _texts(member.values())


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {i: v if isinstance(v, str) else orjson.dumps(v).decode() for i, v in values.items()}


def build(step: Step, decision: Decision, keys: MemberKeys, context: Context) -> Outgoing:
    """Return every record, ledger row and delivery of one change."""
    out = Outgoing(_fact(step, decision, keys, context))
    fact_record = _clear_record(out.fact, FACTS, step, context, previous=step.member.seq - 1)
    out.records.append(fact_record)
    for action in decision.affiliates:
        if isinstance(action, Project):
            _project(out, action, step.member, keys, context, step)
        elif isinstance(action, StopFor):
            _stop(out, action, step, context)
    for wanted in decision.notices:
        _notice(out, wanted, step, keys, context)
    return out


def _fact(step: Step, decision: Decision, keys: MemberKeys, context: Context) -> Fact:
    values = step.member.values()
    return Fact(
        change=step.change,
        change_id=context.change_id,
        member_ref=step.member.member_ref,
        seq=step.member.seq,
        at=context.at,
        actor=context.actor,
        channel=context.channel,
        items=tuple(sorted(step.items)),
        commitments=commitments(keys, {i: values[i] for i in sorted(step.items) if i in values}),
        consents=tuple(_consent_items(step, context.notice_version)),
        addressees=tuple(_addressees(decision)),
        suspended=tuple(sorted(step.member.suspended)),
        policy_version=context.policy_version,
        note=step.note,
    )


def _consent_items(step: Step, notice_version: str) -> Iterable[ConsentItem]:
    given = set(step.given)
    for ref in (*step.given, *(e for e in step.ended if e not in given)):
        yield _consent_item(ref, ref in given, notice_version)


def _consent_item(ref: ConsentRef, granted: bool, notice_version: str) -> ConsentItem:
    return ConsentItem(
        purpose=ref.purpose,
        granted=granted,
        notice_version=notice_version,
        recipient=ref.party if ref.purpose == "sharing" else None,
        sender=ref.party if ref.purpose == "marketing" else None,
        channel=ref.channel or None,
    )


def _addressees(decision: Decision) -> Iterable[Addressee]:
    for action in decision.affiliates:
        if isinstance(action, Project | StopFor):
            yield Addressee(
                id=action.recipient,
                kind="affiliate",
                roles=tuple(sorted(action.roles)),
                rules=tuple(action.rules),
                suspended=tuple(sorted(action.suspended)),
            )
    for wanted in decision.notices:
        yield Addressee(id=wanted.recipient, kind="third_party", rules=tuple(wanted.rules))


def _project(out: Outgoing, action: Project, member: Member, keys: MemberKeys, context: Context, step: Step) -> None:
    held = _advance(member, action.recipient, action.roles, action.marketing)
    prev = _prev(member, action.recipient)
    projection = Projection(
        change_id=context.change_id,
        member_ref=member.member_ref,
        seq=member.seq,
        prev=prev,
        at=context.at,
        member=member_part(member) if action.member else None,
        marketing=action.marketing,
        processed=processed_part(member, action.processed_service),
        suspended=tuple(sorted(action.suspended)),
    )
    kid = format_kid(action.recipient, member.member_ref, held.epoch)
    record = _sealed_record(projection, affiliate_topic(action.recipient), kid, keys, step, context, prev)
    _hand_over(out, action.recipient, "affiliate", record)
    out.held[action.recipient] = held
    already = member.held[action.recipient].roles if action.recipient in member.held else frozenset()
    out.ledger.extend(_affiliate_ledger(projection, action, keys, step.items | step.lifted, already))


def _stop(out: Outgoing, action: StopFor, step: Step, context: Context) -> None:
    member = step.member
    prev = _prev(member, action.recipient)
    stop = Stop(
        stop=action.stop,
        change_id=context.change_id,
        member_ref=member.member_ref,
        seq=member.seq,
        prev=prev,
        at=context.at,
        roles=tuple(sorted(action.roles)),
        marketing=action.marketing,
        suspended=tuple(sorted(action.suspended)),
    )
    record = _clear_record(stop, affiliate_topic(action.recipient), step, context, previous=prev)
    _hand_over(out, action.recipient, "affiliate", record)
    out.held[action.recipient] = _after_stop(member.held[action.recipient], action, member.seq)


def _notice(out: Outgoing, wanted: NoticeFor, step: Step, keys: MemberKeys, context: Context) -> None:
    member = step.member
    values = texts(member)
    told = {i: values[i] for i in wanted.items if i in values and i not in wanted.withheld}
    notice = Notice(
        notice_id=str(uuid7()),
        change_id=context.change_id,
        member_ref=member.member_ref,
        recipient=wanted.recipient,
        seq=member.seq,
        corrected_at=context.at,
        items=tuple(sorted(wanted.items)),
        values=told,
        withheld=wanted.withheld,
    )
    kid = format_kid(wanted.recipient, member.member_ref, THIRD_PARTY_EPOCH)
    record = _sealed_record(notice, NOTICES, kid, keys, step, context, member.seq - 1)
    _hand_over(out, wanted.recipient, "third_party", record)
    out.notices.append(notice)
    given = commitments(keys, told)
    out.ledger.append(LedgerRow(wanted.recipient, "third_party", "recipient", given, "correction", wanted.rules[0]))


def _hand_over(out: Outgoing, recipient: str, kind: str, record: Record) -> None:
    out.records.append(record)
    out.deliveries.append((recipient, kind, record.id))


def _prev(member: Member, recipient: str) -> int:
    held = member.held.get(recipient)
    return held.prev if held else 0


def _advance(member: Member, recipient: str, roles: Iterable[str], marketing: Marketing | None) -> HeldState:
    """The held state after a projection; a grant after a revocation opens a new key epoch."""
    before = member.held.get(recipient)
    now = frozenset(roles)
    if before is None:
        return HeldState(member.seq, 1, now, marketing)
    regranted = "recipient" in now and "recipient" not in before.roles
    return HeldState(member.seq, before.epoch + (1 if regranted else 0), now, marketing)


def _after_stop(before: HeldState, action: StopFor, seq: int) -> HeldState:
    if action.stop in {"sharing_revoked", "withdrawn", "erased"}:
        kept = before.marketing if "recipient" not in action.roles else None
        return HeldState(seq, before.epoch, before.roles - frozenset(action.roles), kept)
    if action.stop == "marketing_revoked":
        return replace(before, prev=seq, marketing=action.marketing)
    if MARKETING_PURPOSE in action.suspended:
        return replace(before, prev=seq, marketing=None)
    return replace(before, prev=seq)


def member_part(member: Member) -> MemberPart:
    """Return what a recipient may hold of a member who is not withdrawn (3.2), with the status in force.

    An item suspended in part is left empty: nothing of it is shared until it is released (37(2)).
    """
    values = member.values()
    shared = {i: None if i in member.suspended else values[i] for i in ("email", "name", "password_hash")}
    return MemberPart(**shared, status=member.in_force, signed_up_at=member.signed_up_at)


def processed_part(member: Member, service: str | None) -> ProcessedPart | None:
    """Return what the processor of a service holds: the account's e-mail and name, and that service's items.

    An item suspended in part is not among them: nothing of it is shared until it is released (37(2)). What stands over
    the whole membership is told with them; that it is active is nothing a processor needs.
    """
    if service is None:
        return None
    profile = member.profiles[service]
    items = {"email": member.email, "name": member.name, **profile.items}
    shared = {i: v for i, v in items.items() if not {i, f"{service}.{i}"} & member.suspended}
    status = None if member.in_force == "active" else member.in_force
    return ProcessedPart(service=service, role=profile.role, items=shared, status=status)


def _affiliate_ledger(
    projection: Projection,
    action: Project,
    keys: MemberKeys,
    changed: frozenset[str],
    already: frozenset[str],
) -> Iterable[LedgerRow]:
    """A projection repeats the full state; only what this role did not hold before is a new disclosure."""
    for role, given in _given(projection).items():
        items = given if role not in already else {i: v for i, v in given.items() if _touched(i, changed, projection)}
        if items:
            purpose, rule = action.basis_of(role)
            yield LedgerRow(action.recipient, "affiliate", role, commitments(keys, items), purpose, rule)


def _given(projection: Projection) -> dict[str, dict[str, Any]]:
    given: dict[str, dict[str, Any]] = {}
    if (part := projection.member) is not None:
        told = {"email": part.email, "name": part.name, "password_hash": part.password_hash}
        shared = {item: value for item, value in told.items() if value is not None}
        given["recipient"] = shared | {"membership_status": part.status}
    if projection.processed is not None:
        given["processor"] = dict(projection.processed.items)
    return given


def _touched(item: str, changed: frozenset[str], projection: Projection) -> bool:
    service = projection.processed.service if projection.processed else ""
    return item in changed or f"{service}.{item}" in changed


def _envelope(step: Step, context: Context, schema: str, sealed: bool, previous: int) -> Envelope:
    return Envelope(
        id=str(uuid7()),
        type=event_type(step.change),
        source=SOURCE,
        subject=step.member.member_ref,
        sequence=step.member.seq,
        previous=previous,
        time=context.at,
        dataschema=f"urn:dongui:{schema}:v1",
        content_type="application/jose" if sealed else "application/json",
        traceparent=context.traceparent,
        change_id=context.change_id,
    )


def _clear_record(shape: Fact | Stop, topic: str, step: Step, context: Context, *, previous: int) -> Record:
    envelope = _envelope(step, context, type(shape).__name__.lower(), False, previous)
    return _record(envelope, topic, codec.encode_clear(shape, envelope))


def _sealed_record(
    shape: Projection | Notice,
    topic: str,
    kid: str,
    keys: MemberKeys,
    step: Step,
    context: Context,
    previous: int,
) -> Record:
    envelope = _envelope(step, context, type(shape).__name__.lower(), True, previous)
    return _record(envelope, topic, codec.seal(shape, key=keys.content_key(kid), kid=kid, topic=topic))


def _record(envelope: Envelope, topic: str, payload: bytes) -> Record:
    return Record(envelope.id, topic, envelope.subject, envelope.type, payload, to_headers(envelope))

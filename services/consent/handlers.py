"""The verbs of the consent service: each opens ONE transaction in which it locks, decides, writes and hands over.

`Consent` carries what they need; `COMMANDS` at the foot is the index.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

import asyncpg
from argon2 import PasswordHasher
from uuid_utils import uuid7

from schemas.base import ActorKind, Channel
from services.consent import age, agreed, idempotency, model, profiles, records, store
from services.consent.bodies import AccountBody, ConsentBody, CorrectionBody, SignUpBody
from services.consent.erasure import selection
from services.consent.idempotency import Answer, Key
from services.consent.messages import wishes
from services.consent.model import ConsentRef, Member, Profile, Step
from services.consent.records import Context
from services.consent.refusals import check_version, email_taken, etag_of, not_found
from services.keyring import derive
from services.keyring.derive import MemberKeys
from services.keyring.keyring import Keyring
from services.policy import decide as policy
from services.policy.model import Rules
from services.runtime import tracing
from services.runtime.clock import Clock
from services.runtime.passwords import aside
from services.runtime.postgres import Connection


@dataclass(frozen=True)
class Caller:
    """Who sends a command: `name` scopes idempotency, `actor` and `channel` go into the evidence."""

    name: str
    actor: ActorKind
    channel: Channel = "web"
    traceparent: str | None = None


@dataclass(frozen=True)
class Consent:
    """What the verbs need. `nudge` wakes the relay after a commit."""

    pool: asyncpg.Pool
    keyring: Keyring
    rules: Rules
    clock: Clock
    hasher: PasswordHasher
    index_key: bytes
    nudge: Callable[[], None]


async def sign_up(consent: Consent, body: SignUpBody, caller: Caller, key: Key | None) -> Answer:
    """Create a member. 409 when the e-mail is taken; 422 for consents or profiles the policy does not allow."""
    at = consent.clock()
    version = agreed.notice(consent.rules, body.notice_version, at, body.notice_locale)
    given = agreed.at_sign_up(consent.rules, body.consents, body.notice_version)
    wanted = profiles.validated(consent.rules, {}, body.profiles)
    age.check_sign_up(body, at)
    if stored := await _recalled(consent, key):
        return stored
    member = new_member(body, await hash_password(consent, body.password), wanted, at, caller.channel)
    return await create(consent, member, given, version, caller, key)


async def create(
    consent: Consent,
    member: Member,
    given: tuple[ConsentRef, ...],
    version: tuple[str, str],
    caller: Caller,
    key: Key | None,
) -> Answer:
    """Write a new member and all that follows, in one transaction; the data key first (it has its own database).

    When the transaction fails, a key without a member stays behind: it opens nothing and names nobody.
    """
    data_key = await consent.keyring.create(member.member_ref)
    step = model.sign_up(member, given)
    async with _transaction(consent) as connection:
        context = context_of(consent, caller, version)
        if stored := await idempotency.recall(connection, key):
            return stored
        await _follow(consent, connection, step, None, data_key, context)
        await wishes.follow(connection, None, step, context, data_key)
        answer = answer_of(201, step, context, member_ref=member.member_ref)
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def _recalled(consent: Consent, key: Key | None) -> Answer | None:
    """Look for a stored answer before the slow work of a password; the write looks again, under its lock."""
    return await idempotency.stored(consent.pool, key) if key else None


def new_member(body: AccountBody, password_hash: str, wanted: dict[str, Profile], at: datetime, via: Channel) -> Member:
    """Return a member as signed up at `at`; one under 14 waits for a guardian and nothing is shared."""
    return Member(
        member_ref=str(uuid7()),
        seq=1,
        status="pending_guardian" if age.waits(body, at) else "active",
        signed_up_at=at,
        email=body.email,
        name=body.name,
        password_hash=password_hash,
        birth_date=body.birth_date,
        profiles=wanted,
        collected_via=via,
        age_declared=body.age_declaration is True,
    )


async def correct(
    consent: Consent,
    ref: str,
    body: CorrectionBody,
    if_match: str | None,
    caller: Caller,
    key: Key | None,
) -> Answer:
    """Correct account items or profiles (5.1). Every affiliate that holds one follows; third parties are told (5.7)."""
    at, fields = consent.clock(), body.model_fields_set
    age.check_given(age.given(None, body.profiles or []), at)
    changed: dict[str, Any] = {f: getattr(body, f) for f in ("email", "name") if f in fields}
    if body.password is not None:
        if stored := await _before_hashing(consent, ref, if_match, key):
            return stored
        changed["password_hash"] = await hash_password(consent, body.password)

    def step(member: Member) -> Step:
        model.refuse_ended(member)  # first: the profile that a correction builds on has gone with the member
        wanted = profiles.validated(consent.rules, member.profiles, body.profiles or [])
        found = model.correct(member, **changed, profiles=wanted)
        age.check_correction(member, found.member, at)
        return found

    return await change(consent, ref, step, if_match, caller, key)


async def _before_hashing(consent: Consent, ref: str, if_match: str | None, key: Key | None) -> Answer | None:
    """Refuse what the change refuses anyhow before the slow work of a password; it looks again, under its lock.

    Return the stored answer of a repetition. The version is read first: a change that commits in between has stored its
    answer by then, and is not taken for another's.
    """
    row = await consent.pool.fetchrow(store.SQL["read_version"], ref)
    if stored := await _recalled(consent, key):
        return stored
    if row is None:
        raise not_found()
    check_version(if_match, row["seq"])
    model.refuse_ended_status(row["status"])
    return None


async def change_consent(
    consent: Consent,
    ref: str,
    purpose: str,
    body: ConsentBody,
    if_match: str | None,
    caller: Caller,
    key: Key | None,
) -> Answer:
    """Give or take back sharing or marketing consents; give the consent to collection anew."""
    step_of, version = consent_step(consent, purpose, body)
    return await change(consent, ref, step_of, if_match, caller, key, version=version)


def consent_step(consent: Consent, purpose: str, body: ConsentBody) -> tuple[Callable[[Member], Step], tuple[str, str]]:
    """Return what a PUT of a consent makes of the member now, and the notice it cites. Raise Problem 422."""
    at = consent.clock()
    version = agreed.notice(consent.rules, body.notice_version, at, body.notice_locale, giving=body.granted)
    return agreed.step_of(consent.rules, purpose, body, at), version


async def request_withdrawal(consent: Consent, ref: str, caller: Caller, key: Key | None) -> Answer:
    """First step of leaving (1.2): 202, no new sharing from here on."""
    at = consent.clock()
    return await change(consent, ref, lambda m: model.request_withdrawal(m, at), "*", caller, key, status=202)


async def confirm_withdrawal(consent: Consent, ref: str, caller: Caller, key: Key | None) -> Answer:
    """Second step: withdrawn; personal values go from every store."""
    at = consent.clock()
    return await change(consent, ref, lambda m: model.confirm_withdrawal(m, at), "*", caller, key)


async def cancel_withdrawal(consent: Consent, ref: str, caller: Caller, key: Key | None) -> Answer:
    """The member stays."""
    return await change(consent, ref, model.cancel_withdrawal, "*", caller, key)


async def change(
    consent: Consent,
    ref: str,
    step_of: Callable[[Member], Step],
    if_match: str | None,
    caller: Caller,
    key: Key | None,
    *,
    version: tuple[str, str] | None = None,
    status: int = 200,
) -> Answer:
    """The one way a member changes: recall, lock, check the version, step, decide, write, remember, commit."""
    async with _transaction(consent) as connection:
        if stored := await idempotency.recall(connection, key):
            return stored
        step, context = await change_within(consent, connection, ref, step_of, caller, if_match, version=version)
        answer = answer_of(status, step, context)
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


@contextlib.asynccontextmanager
async def _transaction(consent: Consent) -> AsyncIterator[Connection]:
    """One transaction in a span that ends with its COMMIT: what it hands to the outbox continues that span."""
    with tracing.span("commit change"):
        async with consent.pool.acquire() as connection, connection.transaction():
            yield connection


async def change_within(
    consent: Consent,
    tx: Connection,
    ref: str,
    step_of: Callable[[Member], Step],
    caller: Caller,
    if_match: str | None = "*",
    *,
    version: tuple[str, str] | None = None,
) -> tuple[Step, Context]:
    """Change a member in the caller's transaction, with all that follows; the caller nudges the relay after it."""
    loaded = await store.lock(tx, ref)
    if loaded is None:
        raise not_found()
    context = context_of(consent, caller, version or ("", ""), not_before=loaded.last_at)
    check_version(if_match, loaded.member.seq - 1)
    step = step_of(loaded.member)
    data_key = await consent.keyring.data_key(ref)
    await _follow(consent, tx, step, loaded, data_key, context)
    await wishes.follow(tx, loaded.member, step, context, data_key)
    await selection.follow(tx, step, context, caller.name)
    return step, context


async def _follow(
    consent: Consent,
    connection: Connection,
    step: Step,
    before: store.Loaded | None,
    data_key: bytes,
    context: Context,
) -> None:
    third_parties, bases = (before.third_parties, before.bases) if before else ({}, {})
    out = outgoing(consent.rules, step, third_parties, data_key, context, bases)
    index = derive.email_index(consent.index_key, step.member.email) if step.member.email else None
    try:
        await store.write_change(connection, (step, out, context), index)
    except store.EmailTakenError as error:
        raise email_taken() from error


def outgoing(
    rules: Rules,
    step: Step,
    third_parties: records.Holdings,
    data_key: bytes,
    context: Context,
    bases: records.Bases = MappingProxyType({}),
) -> records.Outgoing:
    """Decide who is given or told what after a step, and return all that leaves. Pure but for fresh ids."""
    told, keys = {} if step.note == model.DELETION else third_parties, MemberKeys(data_key)
    situation = situation_of(step.member, told, step.items, keys, context.at, bases)
    decision = policy.decide(rules, situation, policy.Change(step.change, step.items))
    return records.build(step, decision, keys, context)


def situation_of(
    member: Member,
    third_parties: records.Holdings,
    items: frozenset[str],
    keys: MemberKeys,
    at: datetime,
    bases: records.Bases = MappingProxyType({}),
) -> policy.Situation:
    """Return what the policy looks at: the state after the change, and who holds which value (stale or not)."""
    values = member.values()
    given = {item for _, item in third_parties} & items
    now = records.commitments(keys, {i: values[i] for i in given if i in values})
    ledger = tuple(
        policy.LedgerEntry(
            recipient,
            "third_party",
            item,
            stale=any(value != now.get(item) for value in held),
            bases=bases.get((recipient, item), frozenset()),
        )
        for (recipient, item), held in sorted(third_parties.items())
        if item in items
    )
    held = {r: policy.Held(h.roles, h.marketing, h.prev) for r, h in member.held.items()}
    return policy.Situation(
        status=member.in_force,
        profiles=tuple((p.service, p.role) for p in member.profiles.values()),
        sharing=member.sharing(),
        marketing=member.marketing(),
        held=held,
        ledger=ledger,
        at=at,
        suspended=member.suspended,
    )


async def hash_password(consent: Consent, password: str) -> str:
    """Return the argon2id hash, computed off the event loop; the clear text goes nowhere else (PIPA safeguards 7)."""
    return await aside(consent.hasher.hash, password)


def context_of(
    consent: Consent, caller: Caller, version: tuple[str, str], *, not_before: datetime | None = None
) -> Context:
    """Return the evidence of one command: who, how, when, under which notice and policy.

    `not_before` is when the member's last change was: a member's times never run against its `seq`.
    """
    now = consent.clock()
    return Context(
        change_id=str(uuid7()),
        at=max(now, not_before) if not_before else now,
        actor=caller.actor,
        channel=caller.channel,
        notice_version=version[0],
        notice_hash=version[1],
        policy_version=consent.rules.version,
        traceparent=tracing.traceparent() or caller.traceparent,
    )


def answer_of(status: int, step: Step, context: Context, **extra: str) -> Answer:
    """Return the answer of a change: the member's new sequence with its entity tag, and the change's id."""
    body = {**extra, "seq": step.member.seq, "change_id": context.change_id}
    return Answer(status, body, etag_of(step.member.seq))


COMMANDS = {
    "sign_up": sign_up,
    "correct": correct,
    "change_consent": change_consent,
    "request_withdrawal": request_withdrawal,
    "confirm_withdrawal": confirm_withdrawal,
    "cancel_withdrawal": cancel_withdrawal,
}

__all__ = ["COMMANDS", "Answer", "Caller", "Consent", "Key", "email_taken", "etag_of", "not_found"]

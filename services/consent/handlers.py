"""The verbs of the consent service: each opens ONE transaction in which it locks, decides, writes and hands over.

`Consent` carries what they need; `COMMANDS` at the foot is the index.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import asyncpg
from argon2 import PasswordHasher
from uuid_utils import uuid7

from schemas.base import ActorKind, Channel
from services.consent import idempotency, model, profiles, records, store
from services.consent.bodies import ConsentBody, ConsentsBody, CorrectionBody, SignUpBody
from services.consent.idempotency import Answer, Key
from services.consent.model import ConsentRef, Member, Profile, Step
from services.consent.records import Context
from services.keyring import derive
from services.keyring.keyring import Keyring
from services.policy import decide as policy
from services.policy.model import Rules
from services.runtime.clock import Clock
from services.runtime.problem import Problem

EMAIL_TAKEN = "member_email_index_key"


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
    given = _given_at_sign_up(consent.rules, body.consents)
    version = _notice(consent.rules, body.notice_version, at)
    wanted = profiles.validated(consent.rules, {}, body.profiles)
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
    password_hash = await hash_password(consent, body.password)
    member = _new_member(consent, body, password_hash, wanted, at)
    return await create(consent, member, given, version, caller, key)


async def create(
    consent: Consent,
    member: Member,
    given: tuple[ConsentRef, ...],
    version: tuple[str, str],
    caller: Caller,
    key: Key | None,
) -> Answer:
    """Write a new member and all that follows, in one transaction; the data key first (it has its own database)."""
    data_key = await consent.keyring.create(member.member_ref)
    step = model.sign_up(member, given)
    index = derive.email_index(consent.index_key, member.email or "")
    context = _context(consent, caller, version)
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        try:
            await store.write_new_member(connection, member, index)
        except asyncpg.UniqueViolationError as error:
            raise email_taken() from error
        await _follow(consent, connection, step, {}, data_key, context)
        answer = _answer(201, step, context, member_ref=member.member_ref)
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


def _new_member(
    consent: Consent, body: SignUpBody, password_hash: str, wanted: dict[str, Profile], at: datetime
) -> Member:
    minor = body.birth_date is not None and policy.is_minor(body.birth_date, at)
    return Member(
        member_ref=str(uuid7()),
        seq=1,
        status="pending_guardian" if minor else "active",
        signed_up_at=at,
        email=body.email,
        name=body.name,
        password_hash=password_hash,
        birth_date=body.birth_date,
        profiles=wanted,
    )


def _given_at_sign_up(rules: Rules, consents: ConsentsBody) -> tuple[ConsentRef, ...]:
    if not consents.collection:
        raise _field(
            422,
            "collection_consent_required",
            "/consents/collection",
            "회원 가입에는 개인정보 수집·이용 동의가 필요합니다.",
            "Membership needs the consent to collection.",
        )
    affiliates = sorted(rules.affiliates)
    chosen = consents.sharing if isinstance(consents.sharing, dict) else dict.fromkeys(affiliates, consents.sharing)
    _known(rules, chosen, "/consents/sharing")
    marketing = consents.marketing.model_dump()
    if any(marketing[c] for c in ("email", "sms", "night")) and not marketing["use"]:
        raise model.marketing_needs_use("/consents/marketing/use")
    sharing = [ConsentRef("sharing", r) for r, yes in sorted(chosen.items()) if yes]
    channels = [ConsentRef("marketing", a, c) for a in affiliates for c, yes in marketing.items() if yes]
    return (ConsentRef("collection"), *sharing, *channels)


async def correct(
    consent: Consent,
    ref: str,
    body: CorrectionBody,
    if_match: str | None,
    caller: Caller,
    key: Key | None,
) -> Answer:
    """Correct account items or profiles (5.1). Every affiliate that holds one follows; third parties are told (5.7)."""
    fields = body.model_fields_set
    changed: dict[str, Any] = {f: getattr(body, f) for f in ("email", "name") if f in fields}
    if body.password is not None:
        changed["password_hash"] = await hash_password(consent, body.password)

    def step(member: Member) -> Step:
        wanted = profiles.validated(consent.rules, member.profiles, body.profiles or [])
        return model.correct(member, **changed, profiles=wanted)

    return await _change(consent, ref, step, if_match, caller, key)


async def change_consent(
    consent: Consent,
    ref: str,
    purpose: str,
    body: ConsentBody,
    if_match: str | None,
    caller: Caller,
    key: Key | None,
) -> Answer:
    """Give or take back sharing or marketing consents."""
    version = _notice(consent.rules, body.notice_version, consent.clock())
    step = _sharing(consent, body) if purpose == "sharing" else _marketing(consent, body)
    return await _change(consent, ref, step, if_match, caller, key, version=version)


def _sharing(consent: Consent, body: ConsentBody) -> Callable[[Member], Step]:
    if body.senders is not None or body.channel is not None:
        raise _field(
            422,
            "field_not_for_purpose",
            "/channel" if body.channel else "/senders",
            "제공(sharing) 동의에는 recipients만 쓸 수 있습니다.",
            "Sharing takes `recipients` only.",
        )
    parties = _parties(consent.rules, body.recipients, "/recipients")
    return lambda member: model.change_sharing(member, body.granted, parties)


def _marketing(consent: Consent, body: ConsentBody) -> Callable[[Member], Step]:
    if body.recipients is not None:
        raise _field(
            422,
            "field_not_for_purpose",
            "/recipients",
            "마케팅 동의에는 senders를 쓰세요.",
            "Marketing takes `senders`, not `recipients`.",
        )
    parties = _parties(consent.rules, body.senders, "/senders")
    channel = body.channel or "use"
    return lambda member: model.change_marketing(member, body.granted, parties, channel)


async def request_withdrawal(consent: Consent, ref: str, caller: Caller, key: Key | None) -> Answer:
    """First step of leaving (1.2): 202, no new sharing from here on."""
    at = consent.clock()
    return await _change(consent, ref, lambda m: model.request_withdrawal(m, at), "*", caller, key, status=202)


async def confirm_withdrawal(consent: Consent, ref: str, caller: Caller, key: Key | None) -> Answer:
    """Second step: withdrawn; personal values go from every store."""
    at = consent.clock()
    return await _change(consent, ref, lambda m: model.confirm_withdrawal(m, at), "*", caller, key)


async def cancel_withdrawal(consent: Consent, ref: str, caller: Caller, key: Key | None) -> Answer:
    """The member stays."""
    return await _change(consent, ref, model.cancel_withdrawal, "*", caller, key)


async def _change(
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
    context = _context(consent, caller, version or ("", ""))
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        loaded = await store.lock(connection, ref)
        if loaded is None:
            raise not_found()
        check_version(if_match, loaded.member.seq - 1)
        step = step_of(loaded.member)
        data_key = await consent.keyring.data_key(ref)
        await _write_account(consent, connection, step)
        await _follow(consent, connection, step, loaded.third_parties, data_key, context)
        answer = _answer(status, step, context)
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def _write_account(consent: Consent, connection: asyncpg.Connection, step: Step) -> None:
    """Write the account row; a withdrawn member keeps its e-mail index until erasure frees it."""
    index = derive.email_index(consent.index_key, step.member.email) if step.member.email else None
    try:
        await store.write_member(connection, step.member, index)
    except asyncpg.UniqueViolationError as error:
        raise email_taken() from error


async def _follow(
    consent: Consent,
    connection: asyncpg.Connection,
    step: Step,
    third_parties: store.Holdings,
    data_key: bytes,
    context: Context,
) -> None:
    situation = situation_of(step.member, third_parties, step.items, data_key, context.at)
    decision = policy.decide(consent.rules, situation, policy.Change(step.change, step.items))
    out = records.build(step, decision, data_key, context)
    await store.write_change(connection, step, out, context)


def situation_of(
    member: Member,
    third_parties: store.Holdings,
    items: frozenset[str],
    data_key: bytes,
    at: datetime,
) -> policy.Situation:
    """Return what the policy looks at: the state after the change, and who holds which value (stale or not)."""
    values = member.values()
    now = {i: records.commitment(data_key, i, values[i]) for i in items if i in values}
    ledger = tuple(
        policy.LedgerEntry(recipient, "third_party", item, stale=given != now.get(item))
        for (recipient, item), given in sorted(third_parties.items())
        if item in items
    )
    held = {r: policy.Held(h.roles, h.marketing, h.prev) for r, h in member.held.items()}
    return policy.Situation(
        status=member.status,
        profiles=tuple((p.service, p.role) for p in member.profiles.values()),
        sharing=member.sharing(),
        marketing=member.marketing(),
        held=held,
        ledger=ledger,
        at=at,
    )


async def hash_password(consent: Consent, password: str) -> str:
    """Return the argon2id hash, computed off the event loop; the clear text goes nowhere else (PIPA safeguards 7)."""
    return await asyncio.to_thread(consent.hasher.hash, password)


def _context(consent: Consent, caller: Caller, version: tuple[str, str]) -> Context:
    return Context(
        change_id=str(uuid7()),
        at=consent.clock(),
        actor=caller.actor,
        channel=caller.channel,
        notice_version=version[0],
        notice_hash=version[1],
        policy_version=consent.rules.version,
        traceparent=caller.traceparent,
    )


def _answer(status: int, step: Step, context: Context, **extra: str) -> Answer:
    body = {**extra, "seq": step.member.seq, "change_id": context.change_id}
    return Answer(status, body, etag_of(step.member.seq))


def etag_of(seq: int) -> str:
    """Return the strong entity tag of a member's version."""
    return f'"{seq}"'


def check_version(if_match: str | None, seq: int) -> None:
    """Raise 428 without If-Match, 412 when it does not name the present version."""
    if not if_match:
        raise Problem(
            428,
            "if_match_required",
            "If-Match 헤더에 회원의 현재 ETag를 넣어 주세요.",
            "Send the member's current ETag in If-Match.",
        )
    tags = {tag.strip() for tag in if_match.split(",")}
    if "*" not in tags and etag_of(seq) not in tags:
        raise Problem(
            412,
            "version_mismatch",
            "그 사이 회원 정보가 바뀌었습니다. 다시 조회한 뒤 시도해 주세요.",
            "The member has changed since. Read it again and retry.",
        )


def _notice(rules: Rules, version: str, at: datetime) -> tuple[str, str]:
    notice = rules.notice(version)
    if notice is None or notice.effective_from > at:
        raise _field(
            422,
            "unknown_notice_version",
            "/notice_version",
            "알 수 없는 고지 버전입니다. 현재 버전: " + rules.current_notice(at),
            "Unknown notice version. The current one is " + rules.current_notice(at),
        )
    return version, notice.sha256


def _parties(rules: Rules, named: list[str] | None, pointer: str) -> frozenset[str]:
    chosen = named if named is not None else sorted(rules.affiliates)
    _known(rules, chosen, pointer)
    return frozenset(chosen)


def _known(rules: Rules, ids: Any, pointer: str) -> None:
    unknown = [i for i in ids if i not in rules.affiliates]
    if unknown:
        known = ", ".join(sorted(rules.affiliates))
        raise _field(
            422,
            "unknown_recipient",
            pointer,
            f"관계사가 아닌 수신자가 있습니다. 가능한 값: {known}",
            f"Not an affiliate. Choose from: {known}",
        )


def _field(status: int, code: str, pointer: str, ko: str, en: str) -> Problem:
    return Problem(status, code, ko, en, errors=[{"pointer": pointer, "code": code}])


def email_taken() -> Problem:
    """The refusal of an e-mail that another member has."""
    return Problem(
        409,
        "email_taken",
        "이미 가입된 아이디(이메일)입니다. 다른 이메일을 사용해 주세요.",
        "This e-mail has a member already. Use another one.",
        errors=[{"pointer": "/email", "code": "email_taken"}],
    )


def not_found() -> Problem:
    """The answer for a reference that names nobody, and for one the caller may not see."""
    return Problem(404, "member_not_found", "회원을 찾을 수 없습니다.", "There is no such member.")


COMMANDS = {
    "sign_up": sign_up,
    "correct": correct,
    "change_consent": change_consent,
    "request_withdrawal": request_withdrawal,
    "confirm_withdrawal": confirm_withdrawal,
    "cancel_withdrawal": cancel_withdrawal,
}

__all__ = ["COMMANDS", "Answer", "Caller", "Consent", "Key", "replace"]

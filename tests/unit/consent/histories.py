"""Random histories of one member through consent's pure path, and a simple oracle of who may hold what.

`Oracle` is written from the clauses with plain sets, and knows nothing of the product: no policy, no model.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from schemas import codec
from schemas.base import MemberStatus
from schemas.envelope import from_headers
from schemas.events import Fact, Projection, Stop
from services.consent import model
from services.consent.handlers import outgoing
from services.consent.model import ConsentRef, Member, Profile, Step
from services.consent.records import Context
from services.consent.rights import steps
from services.keyring import derive
from services.policy.model import load
from services.runtime.problem import Problem

RULES = load()
AFFILIATES = ("tmax-cloud", "tmax-os", "tmax-anc")
OPERATOR = "tmax-cloud"
RUNS = {"tmax-os": "hypermeeting", "tmax-anc": "wapl"}
FOUR = {"email", "name", "password_hash", "status"}
ITEMS_OF = {
    ("hypermeeting", "host"): {"department", "title", "phone"},
    ("hypermeeting", "member"): set(),
    ("wapl", "member"): {"photo", "office_phone"},
}
DATA_KEY = bytes(range(32))
REF = str(UUID(int=7))
START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
Command = tuple[str, Any]


@dataclass
class Oracle:
    """Who may hold which row at this moment, in the fewest words."""

    status: str
    sharing: set[str]
    marketing: dict[str, set[str]] = field(default_factory=dict)
    services: dict[str, str] = field(default_factory=dict)
    held: dict[str, set[str]] = field(default_factory=dict)
    """What each affiliate has: 'recipient', 'processor', and the marketing channels"""
    suspended: bool = False
    leaving: bool = False
    parts: set[str] = field(default_factory=set)
    """Items and purposes suspended in part"""
    had_guardian: bool = False
    born_a_child: bool | None = None
    """What the birth date says; None: there is none"""

    def may_hold(self, affiliate: str) -> set[str]:
        """Rows and channels that live grants, the operator's task and the services in use give."""
        if self.status in {"withdrawn", "pending_guardian"}:
            return set()
        rows = {"recipient"} if affiliate == OPERATOR or affiliate in self.sharing else set()
        rows |= {"processor"} if RUNS.get(affiliate) in self.services else set()
        channels = self.marketing.get(affiliate, set()) if "recipient" in rows else set()
        return rows | channels

    def may_send(self, affiliate: str) -> set[str]:
        """What a record may carry now: nothing new while the member is leaving, or of what is suspended."""
        may, held = self.may_hold(affiliate), self.held.get(affiliate, set())
        if "P1.5" in self.parts:
            may &= {"recipient", "processor"}
        if self.suspended or self.leaving:
            may &= held
        needed = {"recipient": {"email", "name", "password_hash"}, "processor": {"P1.1", "email", "name"}}
        may -= {row for row, items in needed.items() if row not in held and items & self.parts}
        return may if "recipient" in may else may & {"processor"}


@dataclass
class Sent:
    """One record as an affiliate reads it, with what it might carry when it was written."""

    affiliate: str
    record: Projection | Stop
    may: set[str]
    profile: tuple[str, str] | None
    parts: frozenset[str] = frozenset()


@dataclass
class History:
    """A member under random commands: the real state, the oracle beside it, and every record sent."""

    member: Member
    oracle: Oracle
    sent: list[Sent] = field(default_factory=list)
    facts: list[tuple[Fact, MemberStatus]] = field(default_factory=list)
    """Every fact with the member's status then in force."""
    refused: int = 0

    def run(self, command: Command) -> None:
        """Apply one command to both, unless the product refuses it in this state."""
        try:
            step = STEPS[command[0]](self.member, command[1])
        except Problem:
            self.refused += 1
            return
        self._apply(step, command)

    def begin(self, given: tuple[ConsentRef, ...]) -> None:
        """The sign-up: the first change."""
        self._apply(model.sign_up(self.member, given), ("sign_up", None), seq=1)

    def _apply(self, step: Step, command: Command, *, seq: int | None = None) -> None:
        numbered = replace(step, member=replace(step.member, seq=seq or self.member.seq + 1))
        told(self.oracle, *command)
        at = START + timedelta(minutes=numbered.member.seq)
        context = Context(str(UUID(int=numbered.member.seq)), at, "member", "web", "2021-02-22", "h", RULES.version)
        out = outgoing(RULES, numbered, {}, DATA_KEY, context)
        self.facts.append((out.fact, numbered.member.in_force))
        for record in out.records:
            self._read(record)
        self.member = replace(numbered.member, held={**numbered.member.held, **out.held})

    def _read(self, record: Any) -> None:
        affiliate = record.topic.removeprefix("dongui.affiliate.").removesuffix(".v1")
        if affiliate not in AFFILIATES:
            return
        shape = opened(record)
        service = RUNS.get(affiliate)
        used = self.oracle.services.get(service or "")
        profile, parts = (service, used) if service and used else None, frozenset(self.oracle.parts)
        self.sent.append(Sent(affiliate, shape, self.oracle.may_send(affiliate), profile, parts))
        self.oracle.held[affiliate] = held_after(self.oracle.held.get(affiliate, set()), shape)


def opened(record: Any) -> Projection | Stop:
    """Read a record as the affiliate does: headers, and the JWE under its own key."""
    envelope = from_headers([(name, value.encode()) for name, value in record.headers.items()])
    if not codec.is_sealed(envelope):
        shape = codec.decode_clear(envelope, record.payload)
    else:
        key = derive.content_key(DATA_KEY, codec.kid_of(record.payload))
        shape = codec.unseal(envelope, record.payload, key=key, topic=record.topic)
    assert isinstance(shape, Projection | Stop)
    return shape


def channels(marketing: Any) -> set[str]:
    return {name for name, yes in marketing.model_dump().items() if yes} if marketing else set()


def held_after(held: set[str], shape: Projection | Stop) -> set[str]:
    """What the affiliate has after a record, by what the record itself says."""
    if isinstance(shape, Projection):
        rows = {"recipient"} if shape.member else set()
        return rows | ({"processor"} if shape.processed else set()) | channels(shape.marketing)
    rows = held & {"recipient", "processor"}
    if "P1.5" in shape.suspended:
        return rows
    if shape.stop in {"sharing_revoked", "withdrawn", "erased"}:
        left = rows - set(shape.roles)
        return left | ((held - rows) if "recipient" in left else set())
    return rows | channels(shape.marketing) if shape.stop == "marketing_revoked" else held


def a_member(sharing: frozenset[str], marketing: frozenset[tuple[str, str]], *, minor: bool) -> History:
    """A sign-up: the member, the oracle, and the first records."""
    born = date(2020, 1, 1) if minor else None
    status = "pending_guardian" if minor else "active"
    member = Member(REF, 1, status, START, "m@example.com", "홍길동", "$argon2id$x", born)
    used = {(sender, "use") for sender, _ in marketing} | marketing
    given = (
        ConsentRef("collection"),
        *(ConsentRef("sharing", r) for r in sorted(sharing)),
        *(ConsentRef("marketing", s, c) for s, c in sorted(used)),
    )
    oracle = Oracle(status, set(sharing), born_a_child=True if minor else None)
    for sender, channel in used:
        oracle.marketing.setdefault(sender, set()).add(channel)
    history = History(member, oracle)
    history.begin(given)
    return history


def told(oracle: Oracle, name: str, argument: Any) -> None:
    """What an accepted command means, in the oracle's own words."""
    if name in {"share", "unshare"}:
        oracle.sharing = oracle.sharing - {argument} | ({argument} if name == "share" else set())
    elif name in {"market", "unmarket"}:
        told_of_marketing(oracle.marketing, name == "market", *argument)
    elif name == "use":
        oracle.services[argument[0]] = argument[1]
    elif name == "leave_service":
        oracle.services.pop(argument, None)
    elif name in {"request", "cancel"}:
        oracle.leaving = name == "request"
    elif name in {"suspend", "release"}:
        oracle.suspended = name == "suspend"
    elif name in {"suspend_part", "release_part"}:
        oracle.parts = oracle.parts - {argument} | ({argument} if name == "suspend_part" else set())
    elif name in {"of_age", "born", "shown_of_age", "guardian"}:
        told_of_age(oracle, name, argument)
    elif name == "confirm":
        oracle.status, oracle.parts = "withdrawn", set()


def told_of_age(oracle: Oracle, name: str, child: bool | None) -> None:
    """A child's own consents at fourteen are to membership alone, an adult's stand; a new birth date asks anew."""
    if name == "of_age" and oracle.status == "pending_guardian":
        oracle.sharing, oracle.marketing = set(), {}
    waits = name == "born" and child and not oracle.born_a_child and not oracle.had_guardian
    oracle.had_guardian |= name == "guardian"
    oracle.born_a_child = child if name == "born" else oracle.born_a_child
    oracle.status = "pending_guardian" if waits else "active" if name != "born" else oracle.status


def told_of_marketing(marketing: dict[str, set[str]], given: bool, sender: str, channel: str) -> None:
    """Without the consent to use, no channel stands."""
    before = marketing.get(sender, set())
    without = set() if channel == "use" else before - {channel}
    marketing[sender] = before | {channel} if given else without


def use(member: Member, argument: tuple[str, str]) -> Step:
    service, role = argument
    items = {name: f"{name} of {service}" for name in ITEMS_OF[argument]}
    return model.correct(member, profiles={**member.profiles, service: Profile(service, role, items)})


def market(member: Member, argument: tuple[str, str]) -> Step:
    return model.change_marketing(member, True, frozenset({argument[0]}), argument[1])


def suspension(member: Member, *, wanted: bool) -> Step:
    """As the rights requests ask for it: only what is not so already."""
    if steps.is_suspended(member) == wanted:
        raise Problem(409, "no_change", "", "")
    return steps.suspend(member) if wanted else steps.release(member, member.suspended)


def release_part(member: Member, part: str) -> Step:
    """As a request that let this part stand suspended is released: under a whole suspension nothing changes yet."""
    if part not in member.suspended or steps.is_suspended(member):
        raise Problem(409, "no_change", "", "")
    return steps.release_part(member, member.suspended - {part})


def born(member: Member, child: bool) -> Step:
    """As a granted request corrects the birth date."""
    return steps.age_gate(model.correct(member, birth_date=date(2020 if child else 2000, 1, 1)), START)


def shown_of_age(member: Member) -> Step:
    """As the same request goes on for one who waited, once the birth date is an adult's."""
    if member.in_force != "pending_guardian" or member.birth_date != date(2000, 1, 1):
        raise Problem(409, "no_change", "", "")
    return steps.of_age(member)


STEPS: dict[str, Callable[[Member, Any], Step]] = {
    "share": lambda m, who: model.change_sharing(m, True, frozenset({who})),
    "unshare": lambda m, who: model.change_sharing(m, False, frozenset({who})),
    "market": market,
    "unmarket": lambda m, a: model.change_marketing(m, False, frozenset({a[0]}), a[1]),
    "use": use,
    "leave_service": lambda m, service: steps.delete_items(m, frozenset({service})),
    "rename": lambda m, name: model.correct(m, name=name),
    "request": lambda m, _: model.request_withdrawal(m, START),
    "cancel": lambda m, _: model.cancel_withdrawal(m),
    "confirm": lambda m, _: model.confirm_withdrawal(m, START),
    "suspend": lambda m, _: suspension(m, wanted=True),
    "release": lambda m, _: suspension(m, wanted=False),
    "suspend_part": lambda m, part: steps.suspend_part(m, frozenset({part})),
    "release_part": release_part,
    "guardian": lambda m, _: model.confirm_guardian(m),
    "born": born,
    "shown_of_age": lambda m, _: shown_of_age(m),
    "of_age": lambda m, _: model.consent_to_collection(m, of_age=True),
}

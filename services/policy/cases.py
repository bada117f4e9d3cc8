"""Decision tables: what compliance staff write (`given`, `when`, `then`) and what `decide` really answers, compared.

`dongui policy explain` uses the same words, so that an explanation can be pasted into a table.
"""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from schemas.base import ItemName, Marketing, MemberStatus, RecipientId, Role, Shape, SuspendedName
from schemas.events import FactName, StopName
from services.policy.decide import CHANNELS, channels, decide
from services.policy.model import Rules
from services.policy.situation import (
    Action,
    Change,
    Decision,
    Held,
    LedgerEntry,
    NoticeFor,
    Project,
    Situation,
    StopFor,
)
from services.runtime.clock import KST

MarketingChannel = Literal["use", "email", "sms", "night"]
SOME_DAY = datetime(2026, 11, 23, 10, 0, tzinfo=KST)


class CaseError(ValueError):
    """A decision table that cannot be read; the message says where."""


class Given(Shape):
    """The member after the change. `profiles` are `service:role`; `held` lists rows and marketing channels together.

    `third_parties` hold the OLD value of these items, `up_to_date` already have the present one; `suspended` are the
    items and purposes suspended in part.
    """

    status: MemberStatus = "active"
    profiles: tuple[str, ...] = ()
    sharing: frozenset[RecipientId] = frozenset()
    marketing: dict[RecipientId, tuple[MarketingChannel, ...]] = Field(default_factory=dict)
    held: dict[RecipientId, tuple[Role | MarketingChannel, ...]] = Field(default_factory=dict)
    third_parties: dict[RecipientId, tuple[ItemName, ...]] = Field(default_factory=dict)
    up_to_date: dict[RecipientId, tuple[ItemName, ...]] = Field(default_factory=dict)
    at: AwareDatetime = SOME_DAY
    suspended: frozenset[SuspendedName] = frozenset()

    def situation(self) -> Situation:
        """Return it as `decide` takes it."""
        return Situation(
            status=self.status,
            profiles=tuple(_pair(p) for p in self.profiles),
            sharing=self.sharing,
            marketing={sender: _marketing(named) for sender, named in self.marketing.items()},
            held={r: Held(frozenset(n) - set(CHANNELS), _instruction(n)) for r, n in self.held.items()},
            ledger=(*_ledger(self.third_parties, stale=True), *_ledger(self.up_to_date, stale=False)),
            at=self.at,
            suspended=self.suspended,
        )


class When(Shape):
    """The change and the items whose value differs after it."""

    change: FactName
    items: frozenset[ItemName] = frozenset()


class Outcome(Shape):
    """What one recipient gets. `items`: all it may be given with a projection; those corrected with a notice."""

    does: Literal["projection", "stop", "notice", "nothing"]
    stop: StopName | None = None
    roles: frozenset[Role] = frozenset()
    marketing: frozenset[MarketingChannel] = frozenset()
    items: frozenset[str] | None = None
    suspended: frozenset[str] | None = None
    because: frozenset[str] | None = None


class Case(Shape):
    """One line of a decision table. A recipient that `then` does not name gets nothing."""

    name: str
    given: Given = Given()
    when: When
    then: dict[RecipientId, Outcome] = Field(default_factory=dict)


class Table(Shape):
    """The cases of one rule."""

    rule: str
    cases: tuple[Case, ...] = Field(alias="case", min_length=1)


def read_table(text: str) -> Table:
    """Return a decision table from its TOML. Raise CaseError when it is not one."""
    try:
        return Table.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise CaseError(f"not TOML: {error}") from error
    except ValidationError as error:
        raise CaseError("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())) from error


def answer(rules: Rules, given: Given, when: When) -> dict[str, Outcome]:
    """Return what every affiliate and every notified third party gets, by recipient."""
    decision = decide(rules, given.situation(), Change(when.change, when.items))
    return outcomes(decision)


def outcomes(decision: Decision) -> dict[str, Outcome]:
    """Return a decision in the words of the tables."""
    return {action.recipient: _outcome(action) for action in (*decision.affiliates, *decision.notices)}


def differences(rules: Rules, rule: str, case: Case) -> Iterator[str]:
    """Yield where the answer to a case is not what the table says; nothing when it holds."""
    got = answer(rules, case.given, case.when)
    for recipient in sorted(got.keys() | case.then.keys()):
        wanted = case.then.get(recipient, Outcome(does="nothing"))
        actual = got.get(recipient, Outcome(does="nothing"))
        if _told(wanted, actual) != wanted:
            yield f"{recipient}: expected {_shown(wanted)}, got {_shown(_told(wanted, actual))}"
    if not any(rule in (o.because or ()) for o in got.values()):
        yield f"no outcome is because of {rule}"


def _told(wanted: Outcome, actual: Outcome) -> Outcome:
    """Leave out what the table says nothing about."""
    silent = {name: None for name in ("items", "suspended", "because") if getattr(wanted, name) is None}
    return actual.model_copy(update=silent)


def _shown(outcome: Outcome) -> str:
    parts = outcome.model_dump(exclude_defaults=True)
    return " ".join(f"{k}={v if isinstance(v, str) else '+'.join(sorted(v))}" for k, v in parts.items())


def _outcome(action: Action | NoticeFor) -> Outcome:
    because = frozenset(action.rules)
    if isinstance(action, Project):
        sent = frozenset(channels(action.marketing))
        told = {"items": action.items, "suspended": action.suspended}
        return _made("projection", because, roles=action.roles, marketing=sent, **told)
    if isinstance(action, StopFor):
        left = frozenset(channels(action.marketing))
        told = {"marketing": left, "suspended": action.suspended}
        return _made("stop", because, stop=action.stop, roles=action.roles, **told)
    if isinstance(action, NoticeFor):
        return _made("notice", because, items=frozenset(action.items))
    return _made("nothing", because)


def _made(does: str, because: frozenset[str], **parts: object) -> Outcome:
    return Outcome.model_validate({"does": does, "because": because, **parts})


def _pair(profile: str) -> tuple[str, str]:
    service, _, role = profile.partition(":")
    return service, role


def _marketing(named: tuple[str, ...]) -> Marketing:
    return Marketing(**{c: c in named for c in CHANNELS})


def _instruction(named: tuple[str, ...]) -> Marketing | None:
    return _marketing(named) if set(named) & set(CHANNELS) else None


def _ledger(holders: Mapping[str, tuple[str, ...]], *, stale: bool) -> Iterator[LedgerEntry]:
    for recipient, items in holders.items():
        yield from (LedgerEntry(recipient, "third_party", item, stale) for item in items)

"""How long what is kept, from when, and with which fields (`rules/retention.toml`), as one pure question.

Clause 2.1 and PIPA 21(1) proviso: kept through the last day by the Civil Act, destroyed on the day after it.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import AwareDatetime, Field, model_validator

from schemas.base import ItemName, Shape
from services.policy import calendar
from services.runtime.clock import KST


class KeepRule(Shape):
    """One rule that says how long: a period in months or years, from `from_persons` members on."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_.-]{0,62}$")
    clause: str
    statute: str
    effective_from: AwareDatetime
    months: int | None = Field(default=None, ge=1)
    years: int | None = Field(default=None, ge=1)
    from_persons: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_period(self) -> "KeepRule":
        if (self.months is None) == (self.years is None):
            raise ValueError("a rule has one period")
        return self

    @property
    def period_ko(self) -> str:
        """The period in words."""
        return f"{self.years}년" if self.years is not None else f"{self.months}개월"

    def last_day(self, occurred_at: datetime) -> date:
        """Return the last day (KST) of keeping. Raises ValueError beyond the calendar."""
        return calendar.last_day(occurred_at, months=self.months, years=self.years)


class KeptClass(Shape):
    """A class of records: what it may hold, and the rules about its period. Not `accepted`: nobody sends it in."""

    id: str
    ko: str
    en: str
    anchor_ko: str
    anchor_en: str
    accepted: bool = True
    party: frozenset[ItemName] = frozenset()
    fields: frozenset[ItemName] = frozenset()
    rules: tuple[KeepRule, ...] = Field(alias="rule", min_length=1)

    def not_allowed(self, names: Iterable[str]) -> list[str]:
        """Return the names this class may not hold, sorted."""
        return sorted(set(names) - self.party - self.fields)


@dataclass(frozen=True)
class Kept:
    """The answer: the rule that won, the last day it gives, and every rule that was in force with its own."""

    rule: KeepRule
    last_day: date
    candidates: tuple[tuple[KeepRule, date], ...]

    @property
    def destroy_on(self) -> date:
        """The first day (KST) on which the record may no longer be kept."""
        return self.last_day + timedelta(1)


class NotKeptError(ValueError):
    """No rule was in force when it happened: there is nothing to keep the record for."""


def kept(of: KeptClass, occurred_at: datetime, *, persons: int = 0) -> Kept:
    """Say until when a record is kept and by which rule: the longest one in force at `occurred_at`.

    Of equals the last one listed wins: the statute behind the policy's promise. `persons` is how many members there
    are. Raises NotKeptError, and ValueError for an instant beyond the calendar.
    """
    found = tuple(
        (rule, rule.last_day(occurred_at))
        for rule in of.rules
        if rule.effective_from <= occurred_at and persons >= rule.from_persons
    )
    if not found:
        raise NotKeptError(of.id)
    _, (rule, last_day) = max(enumerate(found), key=lambda one: (one[1][1], one[0]))
    return Kept(rule, last_day, found)


@dataclass(frozen=True)
class Why:
    """Why a record goes on its day: the statute of the rule that won, in words, and every rule with its last day."""

    statute: str
    ko: str
    considered: dict[str, str]


def why(class_id: str, rule_id: str, occurred_at: datetime, destroy_on: date) -> Why:
    """Explain a stored decision; the rule it names may be one that is in force no longer."""
    of = all_classes()[class_id]
    won = next((rule for rule in of.rules if rule.id == rule_id), None)
    last_day, day = destroy_on - timedelta(1), occurred_at.astimezone(KST).date()
    considered = {r.id: r.last_day(occurred_at).isoformat() for r in of.rules if r.effective_from <= occurred_at}
    statute = won.statute if won else rule_id
    return Why(statute, f"{of.anchor_ko} {day}, {won.period_ko if won else '-'} → {last_day}까지 보존", considered)


@cache
def all_classes() -> Mapping[str, KeptClass]:
    """Return every class by its id."""
    text = files("services.policy").joinpath("rules/retention.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    found = [KeptClass.model_validate(_with(data["common"], entry)) for entry in data["class"]]
    return {one.id: one for one in found}


def _with(common: list[str], entry: dict[str, Any]) -> dict[str, Any]:
    if not entry.get("accepted", True):
        return entry
    return entry | {"fields": [*common, *entry["fields"]]}

"""Destruction as data (`rules/erasure.toml`): classes with standing approvals, timing, reasons of a legal hold."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from schemas.base import Shape
from services.policy.duties import all_duties
from services.runtime.clock import KST

DUTY = "destruction"
"""The kind of duty whose last day is the law's limit."""
Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,40}$")]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[0-9]+)?$")]


class Standing(Shape):
    """An approval given once for every case of a class, by a role, from an instant on."""

    version: Version
    approved_by: Code
    effective_from: AwareDatetime


class Class(Shape):
    """Why a member is selected for destruction, with the standing approval if there is one."""

    id: Code
    clause: str
    statute: str
    ko: str
    en: str
    standing: Standing | None = None

    def approval(self, at: datetime) -> Standing | None:
        """Return the standing approval in force at an instant."""
        return self.standing if self.standing is not None and self.standing.effective_from <= at else None


class Hold(Shape):
    """A reason why a destruction may be paused."""

    code: Code
    ko: str
    en: str


class Timing(Shape):
    """Whole days of waiting, and hours before the end of the last day (KST)."""

    execute_after_days: int = Field(ge=0, le=3)
    start_hours_before: int = Field(ge=1, le=48)
    shred_hours_before: int = Field(ge=1, le=24)


@dataclass(frozen=True)
class Schedule:
    """When what is done for a case selected at an instant. `due_on` is the law's last day (KST)."""

    due_on: date
    execute_from: datetime
    start_by: datetime
    shred_by: datetime


class Catalogue(Shape):
    """All of it."""

    timing: Timing
    classes: Mapping[str, Class]
    holds: Mapping[str, Hold]

    def schedule(self, at: datetime) -> Schedule:
        """Return the schedule of what becomes due for destruction at `at`, an aware instant."""
        due_on = all_duties()[DUTY].due_on(at)
        end = datetime.combine(due_on + timedelta(1), time(0), KST)
        start_by = end - timedelta(hours=self.timing.start_hours_before)
        wanted = at + timedelta(days=self.timing.execute_after_days)
        return Schedule(due_on, min(wanted, start_by), start_by, end - timedelta(hours=self.timing.shred_hours_before))


@cache
def catalogue() -> Catalogue:
    """Return the data that is installed."""
    text = files("services.policy").joinpath("rules/erasure.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    found = [Class.model_validate(entry) for entry in data["class"]]
    holds = [Hold.model_validate(entry) for entry in data["hold"]]
    return Catalogue(
        timing=Timing.model_validate(data["timing"]),
        classes={one.id: one for one in found},
        holds={one.code: one for one in holds},
    )

"""What must be done by when, as data (`rules/duties.toml`): one kind of duty, one period, one citation."""

import tomllib
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files

from pydantic import Field, model_validator

from schemas.base import Shape
from services.policy import calendar
from services.runtime.clock import KST


class Duty(Shape):
    """A kind of duty: its period (exactly one of days, months, years) and where the law or the policy says so."""

    id: str
    clause: str
    statute: str
    ko: str
    en: str
    days: int | None = Field(default=None, ge=1)
    months: int | None = Field(default=None, ge=1)
    years: int | None = Field(default=None, ge=1)
    roll: bool = True
    before_same_day: bool = False
    """The last day is the one BEFORE the same day of the year, and does not move (decree 62-3)."""

    warn_days: int = Field(ge=0)
    restricted: bool = False
    """Seen by compliance and the privacy officer only (clause 3.3)."""

    @model_validator(mode="after")
    def _one_period(self) -> "Duty":
        if sum(n is not None for n in (self.days, self.months, self.years)) != 1:
            raise ValueError("a duty has one period")
        return self

    def due_on(self, event: datetime) -> date:
        """Return the last day (KST) for an event, an aware instant. Raises ValueError beyond the calendar."""
        if self.before_same_day:
            return _before_same_day(event, self.years or 0)
        return calendar.last_day(event, days=self.days, months=self.months, years=self.years, roll=self.roll)

    def warn_on(self, event: datetime) -> date:
        """Return the day (KST) from which staff are warned."""
        return self.due_on(event) - timedelta(self.warn_days)


def _before_same_day(event: datetime, years: int) -> date:
    """29 February counts back from 28 February in a year without one."""
    day = event.astimezone(KST).date()
    try:
        same = day.replace(year=day.year + years)
    except ValueError:
        same = day.replace(year=day.year + years, day=28)
    return same - timedelta(1)


@cache
def all_duties() -> Mapping[str, Duty]:
    """Return every kind of duty by its id."""
    text = files("services.policy").joinpath("rules/duties.toml").read_text(encoding="utf-8")
    found = [Duty.model_validate(entry) for entry in tomllib.loads(text)["duty"]]
    return {duty.id: duty for duty in found}

"""Clause 2.2 as data (`rules/dormancy.toml`) and as one pure question: what is due for an account at an instant?

Days are Korean. A day that must not pass is not moved by weekends: leaving is a promise, not a working-day deadline.
"""

import tomllib
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import AwareDatetime, Field

from schemas.base import Shape
from services.policy import calendar
from services.runtime.clock import KST

Verdict = Literal["wait", "notify", "release", "leave"]


class Promise(Shape):
    """What the company promised from an instant on: after `months` unused, told `notice_days` before."""

    effective_from: AwareDatetime
    enabled: bool
    clause: str
    statute: str
    months: int = Field(ge=1)
    notice_days: int = Field(ge=1)
    ko: str
    en: str

    def ends_on(self, used_at: datetime) -> date:
        """Return the last day (KST) of the unused period that a use starts."""
        return calendar.last_day(used_at, months=self.months, roll=False)

    def notify_on(self, used_at: datetime) -> date:
        """Return the day (KST) on which the notice is due, counted back from the last day."""
        return self.ends_on(used_at) - timedelta(self.notice_days)

    def leave_after(self, used_at: datetime, notified_at: datetime) -> date:
        """Return the last day (KST) of membership: a late notice still leaves its whole period."""
        told = notified_at.astimezone(KST).date() + timedelta(self.notice_days)
        return max(self.ends_on(used_at), told)


def verdict(promise: Promise | None, used_at: datetime, notified_at: datetime | None, at: datetime) -> Verdict:
    """Say what is due for an account last used at `used_at`; `promise` None or disabled ends a pending notice."""
    today = at.astimezone(KST).date()
    due = promise is not None and promise.enabled and today >= promise.notify_on(used_at)
    if promise is None or not due:
        return "release" if notified_at is not None else "wait"
    if notified_at is None:
        return "notify"
    return "leave" if today > promise.leave_after(used_at, notified_at) else "wait"


def in_force(promises: Sequence[Promise], at: datetime) -> Promise | None:
    """Return the promise in force at an instant; None before the first."""
    started = [p for p in promises if p.effective_from <= at]
    return max(started, key=lambda p: p.effective_from, default=None)


@cache
def all_promises() -> tuple[Promise, ...]:
    """Return every promise there was or is."""
    text = files("services.policy").joinpath("rules/dormancy.toml").read_text(encoding="utf-8")
    return tuple(Promise.model_validate(entry) for entry in tomllib.loads(text)["promise"])

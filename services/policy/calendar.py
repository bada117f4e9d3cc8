"""Periods by the Korean Civil Act, articles 155 to 161, in KST, and ages by article 158.

The first day is not counted unless the event falls on midnight (157); months and years end the day before the
corresponding day, or on the month's last day (160); an end on a Saturday or public holiday moves on (161).
"""

import calendar
import tomllib
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from importlib.resources import files

import holidays

from services.runtime.clock import KST

ADULT_AT_YEARS = 14
"""Below it the guardian consents (PIPA 22-2)."""
SATURDAY = 5
KNOWN_YEARS = range(1948, 2101)
"""The years whose lunar holidays the library knows."""


@dataclass(frozen=True)
class Holidays:
    """Korean public holidays: the library's calendar with the declared days of `rules/holidays.toml` laid over it."""

    added: frozenset[date] = frozenset()
    removed: frozenset[date] = frozenset()

    def __contains__(self, day: date) -> bool:
        return day not in self.removed and (day in self.added or day in _of_year(day.year))


@cache
def _of_year(year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays("KR", years=year, language="ko"))


@cache
def official() -> Holidays:
    """Return the calendar in use."""
    text = files("services.policy").joinpath("rules/holidays.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    return Holidays(*(frozenset(entry["date"] for entry in data.get(key, [])) for key in ("added", "removed")))


def last_day(
    event: datetime,
    *,
    days: int | None = None,
    months: int | None = None,
    years: int | None = None,
    roll: bool = True,
    off: Holidays | None = None,
) -> date:
    """Return the last day (KST) of a period that an event starts; the period ends at 24:00 of it.

    Exactly one of `days`, `months`, `years`, at least 1. `roll=False` for what must stop at once rather than by a
    deadline. Raises ValueError for a naive event, another combination, or a day no calendar is known for.
    """
    given = [n for n in (days, months, years) if n is not None]
    if len(given) != 1 or given[0] < 1 or event.tzinfo is None:
        raise ValueError("one period of at least 1 from an event with an offset")
    start = _first_counted(event)
    try:
        end = (
            start + timedelta(days - 1)
            if days is not None
            else _end_of_months(start, (months or 0) + 12 * (years or 0))
        )
    except OverflowError as error:
        raise ValueError("beyond the calendar") from error
    return _rolled(end, off or official()) if roll else end


def working_days(today: date, due_on: date, off: Holidays | None = None) -> int:
    """Return the working days after `today` up to and including `due_on`; negative when that day is over.

    0 on the last day itself, and when only days off are left. Late by a week-end alone is late by one.
    """
    calendar_ = off or official()
    first, last = sorted((today, due_on))
    between = (first + timedelta(n) for n in range(1, (last - first).days + 1))
    count = sum(1 for day in between if day.weekday() < SATURDAY and day not in calendar_)
    return count if due_on >= today else -max(1, count)


def is_minor(birth_date: date, at: datetime) -> bool:
    """Say whether someone is under 14 at an instant: the day of birth counts (158), KST."""
    return at.astimezone(KST).date() <= _end_of_months(birth_date, 12 * ADULT_AT_YEARS)


def _first_counted(event: datetime) -> date:
    local = event.astimezone(KST)
    return local.date() if local.time() == time(0) else local.date() + timedelta(1)


def _end_of_months(start: date, months: int) -> date:
    years, month0 = divmod(start.month - 1 + months, 12)
    year, month = start.year + years, month0 + 1
    if year > date.max.year:
        raise OverflowError
    last = calendar.monthrange(year, month)[1]
    return date(year, month, start.day) - timedelta(1) if start.day <= last else date(year, month, last)


def _rolled(day: date, off: Holidays) -> date:
    while day.weekday() >= SATURDAY or day in off:
        day += timedelta(1)
    if day.year not in KNOWN_YEARS:
        raise ValueError("beyond the holiday calendar")
    return day

"""Periods by the Civil Act: worked dates D1 to D14 of the law notes, and what holds of every period."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.policy.calendar import Holidays, is_minor, last_day, official, working_days

KST = timezone(timedelta(hours=9))


def kst(year: int, month: int, day: int, hour: int = 12, minute: int = 0, second: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, second, tzinfo=KST)


@pytest.mark.parametrize(
    ("event", "period", "expected"),
    [
        pytest.param(kst(2026, 11, 23, 10), {"days": 10}, date(2026, 12, 3), id="D1 plain"),
        pytest.param(kst(2026, 11, 4), {"days": 10}, date(2026, 11, 16), id="D2 Saturday"),
        pytest.param(kst(2026, 9, 14), {"days": 10}, date(2026, 9, 28), id="D3 Chuseok"),
        pytest.param(kst(2026, 7, 7), {"days": 10}, date(2026, 7, 20), id="D4 Constitution Day"),
        pytest.param(kst(2027, 1, 28), {"days": 10}, date(2027, 2, 10), id="D5 Seollal and its substitute"),
        pytest.param(datetime(2026, 11, 1, 15, 30, tzinfo=UTC), {"days": 10}, date(2026, 11, 12), id="D6 UTC"),
        pytest.param(kst(2026, 11, 2, 0), {"days": 10}, date(2026, 11, 11), id="D7 midnight"),
        pytest.param(kst(2026, 11, 2, 0, 0, 1), {"days": 10}, date(2026, 11, 12), id="D7 a second later"),
        pytest.param(kst(2026, 8, 1), {"days": 14}, date(2026, 8, 18), id="D8 Liberation Day's substitute"),
        pytest.param(kst(2026, 4, 30), {"months": 3}, date(2026, 7, 31), id="D9 month end"),
        pytest.param(kst(2026, 2, 28), {"months": 3}, date(2026, 6, 1), id="D10 month end, Sunday"),
        pytest.param(kst(2026, 11, 29), {"months": 3}, date(2027, 3, 2), id="D11 no such day"),
        pytest.param(kst(2021, 2, 22), {"years": 5}, date(2026, 2, 23), id="D12 Sunday"),
        pytest.param(kst(2024, 2, 29), {"years": 5}, date(2029, 2, 28), id="D13 leap day"),
        pytest.param(kst(2026, 5, 31), {"months": 6}, date(2026, 11, 30), id="D14"),
        pytest.param(kst(2026, 4, 26), {"days": 5}, date(2026, 5, 4), id="Labour Day is a holiday since 2026"),
        pytest.param(kst(2026, 11, 23), {"days": 5}, date(2026, 11, 30), id="five days to destroy"),
        pytest.param(kst(2023, 11, 23), {"years": 3}, date(2026, 11, 23), id="disputes, three years"),
    ],
)
def test_worked_dates(event: datetime, period: dict[str, int], expected: date) -> None:
    assert last_day(event, **period) == expected


@pytest.mark.parametrize(
    ("event", "period", "expected"),
    [
        (kst(2026, 11, 4), {"days": 10}, date(2026, 11, 14)),
        (kst(2026, 2, 28), {"months": 3}, date(2026, 5, 31)),
        (kst(2026, 11, 29), {"months": 3}, date(2027, 2, 28)),
        (kst(2021, 2, 22), {"years": 5}, date(2026, 2, 22)),
    ],
)
def test_what_must_stop_at_once_does_not_roll(event: datetime, period: dict[str, int], expected: date) -> None:
    assert last_day(event, **period, roll=False) == expected


# From the decree on public holidays, by hand. 1 January and 6 June have no substitute.
HOLIDAYS_2026 = (
    "01-01 02-16 02-17 02-18 03-01 03-02 05-01 05-05 05-24 05-25 06-03 06-06 "
    "07-17 08-15 08-17 09-24 09-25 09-26 10-03 10-05 10-09 12-25"
)
HOLIDAYS_2027_H1 = "01-01 02-06 02-07 02-08 02-09 03-01 05-01 05-03 05-05 05-13 06-06"


@pytest.mark.parametrize(
    ("year", "until", "listed"),
    [(2026, date(2026, 12, 31), HOLIDAYS_2026), (2027, date(2027, 6, 30), HOLIDAYS_2027_H1)],
)
def test_the_holidays_are_those_of_the_decree(year: int, until: date, listed: str) -> None:
    expected = {date.fromisoformat(f"{year}-{day}") for day in listed.split()}
    days = (date(year, 1, 1) + timedelta(n) for n in range((until - date(year, 1, 1)).days + 1))
    assert {day for day in days if day in official()} == expected


def test_constitution_day_was_a_working_day_before_2026() -> None:
    assert date(2025, 7, 17) not in official()


@pytest.mark.parametrize("declared", [date(2020, 8, 17), date(2023, 10, 2), date(2024, 10, 1), date(2025, 1, 27)])
def test_days_that_the_government_declared_are_holidays(declared: date) -> None:
    assert declared in official()
    assert declared in official().added


def test_declared_days_overrule_the_yearly_calendar() -> None:
    declared = Holidays(added=frozenset({date(2026, 12, 3)}), removed=frozenset({date(2026, 7, 17)}))
    assert last_day(kst(2026, 11, 23), days=10, off=declared) == date(2026, 12, 4)
    assert last_day(kst(2026, 7, 7), days=10, off=declared) == date(2026, 7, 17)


@pytest.mark.parametrize(
    "period", [{}, {"days": 0}, {"days": -1}, {"days": 1, "months": 1}, {"years": 9000}, {"days": 10**8}, {"years": 80}]
)
def test_an_impossible_period_is_refused(period: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"period|calendar"):
        last_day(kst(2026, 11, 23), **period)


def test_an_event_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        last_day(datetime(2026, 11, 23, 12), days=1)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2050, 1, 1)), st.integers(1, 400))
@settings(max_examples=200, deadline=None)
def test_a_period_in_days_ends_on_the_first_working_day_from_its_last_day_on(when: datetime, days: int) -> None:
    event = when.replace(tzinfo=UTC)
    raw = last_day(event, days=days, roll=False)
    rolled = last_day(event, days=days)
    off = [raw + timedelta(n) for n in range((rolled - raw).days)]
    assert all(day.weekday() >= 5 or day in official() for day in off)
    assert rolled.weekday() < 5
    assert rolled not in official()


@given(st.datetimes(datetime(2000, 1, 1), datetime(2050, 1, 1)), st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_years_are_twelve_months(when: datetime, years: int) -> None:
    event = when.replace(tzinfo=UTC)
    assert last_day(event, years=years) == last_day(event, months=12 * years)


@pytest.mark.parametrize(
    ("birth", "at", "minor"),
    [
        (date(2012, 11, 24), kst(2026, 11, 23, 23, 59, 59), True),
        (date(2012, 11, 24), kst(2026, 11, 24, 0), False),
        (date(2012, 11, 24), datetime(2026, 11, 23, 14, 59, 59, tzinfo=UTC), True),
        (date(2012, 11, 24), datetime(2026, 11, 23, 15, 0, tzinfo=UTC), False),
        (date(2012, 2, 29), kst(2026, 2, 28, 23), True),
        (date(2012, 2, 29), kst(2026, 3, 1, 0), False),
        (date(1990, 1, 1), kst(2026, 1, 1), False),
        (date(2026, 1, 2), kst(2026, 1, 1), True),
    ],
)
def test_one_is_under_14_until_the_end_of_the_day_before_the_birthday(birth: date, at: datetime, minor: bool) -> None:
    assert is_minor(birth, at) is minor


@pytest.mark.parametrize(
    ("today", "due_on", "days"),
    [
        (date(2026, 11, 24), date(2026, 11, 24), 0),
        (date(2026, 11, 24), date(2026, 11, 25), 1),
        (date(2026, 11, 27), date(2026, 11, 30), 1),  # a week-end between
        (date(2026, 12, 24), date(2026, 12, 28), 1),  # Christmas and a week-end between
        (date(2026, 11, 28), date(2026, 11, 29), 0),  # only the week-end is left
        (date(2026, 11, 25), date(2026, 11, 24), -1),
        (date(2026, 11, 29), date(2026, 11, 28), -1),  # over is over, on a Sunday too
        (date(2026, 12, 1), date(2026, 11, 24), -5),
    ],
)
def test_working_days_leave_out_week_ends_and_holidays(today: date, due_on: date, days: int) -> None:
    assert working_days(today, due_on) == days

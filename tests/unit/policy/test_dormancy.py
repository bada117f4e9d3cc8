"""When an unused account is told and when it leaves, by hand from law.md C6 and the policy's clause 2.2."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.policy.dormancy import Promise, all_promises, in_force, verdict
from services.runtime.clock import KST

LOGIN = datetime(2025, 11, 23, 10, tzinfo=KST)
PROMISE = Promise(
    effective_from=datetime(2023, 9, 15, tzinfo=KST),
    enabled=True,
    clause="2.2",
    statute="개인정보 보호법 30조 3항",
    months=12,
    notice_days=30,
    ko="약속",
    en="a promise",
)
OFF = PROMISE.model_copy(update={"enabled": False})
TOLD = datetime(2026, 10, 24, 9, tzinfo=KST)


@pytest.mark.parametrize(
    ("used", "told", "at", "expected"),
    [
        (LOGIN, None, datetime(2026, 10, 23, 23, 59, 59, tzinfo=KST), "wait"),
        (LOGIN, None, datetime(2026, 10, 24, 0, 0, tzinfo=KST), "notify"),
        (LOGIN, None, datetime(2026, 10, 23, 15, 0, tzinfo=UTC), "notify"),
        (LOGIN, TOLD, datetime(2026, 11, 23, 23, 59, 59, tzinfo=KST), "wait"),
        (LOGIN, TOLD, datetime(2026, 11, 24, 0, 0, tzinfo=KST), "leave"),
        # A log-in on 11-20 cancels.
        (datetime(2026, 11, 20, 8, tzinfo=KST), TOLD, datetime(2026, 11, 24, 0, 0, tzinfo=KST), "release"),
        # A notice sent late, on 11-20, still leaves 30 days: the last one is 12-20.
        (LOGIN, datetime(2026, 11, 20, 9, tzinfo=KST), datetime(2026, 12, 20, 23, 59, tzinfo=KST), "wait"),
        (LOGIN, datetime(2026, 11, 20, 9, tzinfo=KST), datetime(2026, 12, 21, 0, 0, tzinfo=KST), "leave"),
        # A log-in reported late, of a day before the notice: the notice was not due.
        (datetime(2026, 10, 1, 8, tzinfo=KST), TOLD, datetime(2026, 10, 25, 0, 0, tzinfo=KST), "release"),
    ],
)
def test_an_account_is_told_released_or_left_on_its_day(
    used: datetime, told: datetime | None, at: datetime, expected: str
) -> None:
    assert verdict(PROMISE, used, told, at) == expected


def test_the_year_and_its_notice_end_on_the_days_of_the_law_note() -> None:
    assert PROMISE.ends_on(LOGIN) == date(2026, 11, 23)
    assert PROMISE.notify_on(LOGIN) == date(2026, 10, 24)


def test_a_last_day_on_a_sunday_does_not_move() -> None:
    used = datetime(2025, 11, 22, 10, tzinfo=KST)
    assert PROMISE.ends_on(used) == date(2026, 11, 22)


@pytest.mark.parametrize("promise", [None, OFF])
def test_without_the_promise_nobody_leaves_and_a_pending_notice_is_taken_back(promise: Promise | None) -> None:
    late = datetime(2030, 1, 1, tzinfo=KST)
    assert verdict(promise, LOGIN, None, late) == "wait"
    assert verdict(promise, LOGIN, TOLD, late) == "release"


def test_the_statutory_rule_ended_on_15_september_2023_and_nothing_is_on_since() -> None:
    promises = all_promises()
    before = in_force(promises, datetime(2023, 9, 14, 23, 59, 59, tzinfo=KST))
    after = in_force(promises, datetime(2023, 9, 15, tzinfo=KST))
    assert before is not None
    assert after is not None
    assert (before.enabled, after.enabled) == (True, False)
    assert in_force(promises, datetime(2021, 2, 21, tzinfo=KST)) is None


instants = st.datetimes(datetime(2021, 3, 1), datetime(2035, 1, 1)).map(lambda d: d.replace(tzinfo=KST))


@settings(max_examples=200, deadline=None)
@given(used=instants, told=st.none() | instants, at=instants)
def test_nobody_leaves_without_a_notice_thirty_days_old_and_a_year_unused(
    used: datetime, told: datetime | None, at: datetime
) -> None:
    if verdict(PROMISE, used, told, at) == "leave":
        assert told is not None
        assert at.date() - told.date() > timedelta(30)
        assert at - used > timedelta(365)

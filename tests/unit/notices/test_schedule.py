"""When a notice is sent again."""

from datetime import UTC, datetime, timedelta

import pytest

from services.propagator.notices import plan, schedule

PLAN = plan.load().schedule
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@pytest.mark.f(22)
@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [
        (0, 0),
        (1, 5),
        (2, 300),
        (3, 1_800),
        (4, 7_200),
        (5, 18_000),
        (6, 36_000),
        (7, 50_400),
        (8, 72_000),
        (9, 86_400),
        (10, 86_400),
        (500, 86_400),
    ],
)
def test_the_wait_after_each_attempt_is_the_published_one(attempts: int, seconds: int) -> None:
    assert schedule.next_at(PLAN, NOW, attempts, 0.0, None) == NOW + timedelta(seconds=seconds)


@pytest.mark.f(22)
@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 300.0), (0.5, 315.0), (1.0, 330.0)])
def test_jitter_makes_a_wait_longer_by_up_to_a_tenth(jitter: float, seconds: float) -> None:
    assert schedule.next_at(PLAN, NOW, 2, jitter, None) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("120", 120),
        (" 7 ", 7),
        ("86401", 86_400),
        ("9" * 400, 86_400),
        ("-5", 0),
        ("1.5", 0),
        ("٣", 0),
        ("soon", 0),
        ("Tue, 24 Nov 2026 03:10:00 GMT", 600),
        ("Tue, 24 Nov 2026 12:10:00 +0900", 600),
        ("Tue, 24 Nov 2026 02:00:00 GMT", 0),
        ("Fri, 24 Nov 2028 03:10:00 GMT", 86_400),
        ("Tue, 99 Nov 2026 03:10:00 GMT", 0),
        ("9" * 5000, 86_400),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2026 99999999999999999999:28:00 GMT", 0),
        ("Wed, 99999999999999999999 Oct 2026 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2026 07:28:00 +99999999999999999999", 0),
        ("Wed, 21 Oct 2026 07:28:00 +2500", 0),
        ("Wed, 21 Oct " + "9" * 5000 + " 07:28:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 -1200", 86_400),
        (",", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_a_day(header: str | None, seconds: int) -> None:
    assert schedule.wished(header, NOW, PLAN.retry_after_max) == timedelta(seconds=seconds)


@pytest.mark.f(22)
def test_retry_after_makes_a_wait_longer_never_shorter() -> None:
    assert schedule.next_at(PLAN, NOW, 1, 0.0, "60") == NOW + timedelta(seconds=60)
    assert schedule.next_at(PLAN, NOW, 2, 0.0, "60") == NOW + timedelta(seconds=300)

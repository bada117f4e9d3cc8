"""When a third party that fails is left alone, and when it is asked again."""

from datetime import UTC, datetime, timedelta

import pytest

from services.propagator.notices import circuit, plan
from services.propagator.notices.circuit import Circuit
from services.propagator.notices.model import Reply
from services.propagator.notices.plan import PlanError

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
NUMBERS = plan.load().circuit
FAILED, GOOD = Reply(3, 500), Reply(3, 200)


def _after(found: Circuit, *replies: Reply, now: datetime = NOW, jitter: float = 0.0) -> Circuit:
    for reply in replies:
        found = circuit.after(found, reply, now, jitter, NUMBERS)
    return found


@pytest.mark.parametrize("reply", [FAILED, Reply(3, 401), Reply(3, 302), Reply(3, error="TimeoutError"), Reply(3, 429)])
def test_the_fifth_failure_in_a_row_opens_it_for_half_a_minute(reply: Reply) -> None:
    four = _after(Circuit(), *[reply] * 4)
    assert (four.state(NOW), four.room(NOW, 2, 8)) == ("closed", 6)
    five = _after(four, reply)
    assert (five.state(NOW), five.room(NOW, 0, 8)) == ("open", 0)
    assert five.until == NOW + timedelta(seconds=30)


def test_one_success_in_between_keeps_it_closed() -> None:
    assert _after(Circuit(), *[FAILED] * 4, GOOD, *[FAILED] * 4).state(NOW) == "closed"


def test_after_a_pause_one_alone_is_sent_and_its_success_closes_it() -> None:
    opened = _after(Circuit(), *[FAILED] * 5)
    later = NOW + timedelta(seconds=30)
    assert opened.state(later) == "half_open"
    assert [opened.room(later, running, 8) for running in (0, 1, 7)] == [1, 0, 0]
    assert _after(opened, GOOD, now=later) == Circuit()


def test_each_further_failure_doubles_the_pause_up_to_ten_minutes() -> None:
    found, now, pauses = _after(Circuit(), *[FAILED] * 5), NOW, []
    for _ in range(7):
        assert found.until
        pauses.append((found.until - now).total_seconds())
        now = found.until
        found = _after(found, FAILED, now=now)
    assert pauses == [30, 60, 120, 240, 480, 600, 600]


def test_what_was_still_on_its_way_when_it_opened_makes_no_pause_longer() -> None:
    assert _after(Circuit(), *[FAILED] * 12).until == NOW + timedelta(seconds=30)


def test_jitter_makes_a_pause_longer_by_up_to_a_tenth() -> None:
    assert _after(Circuit(), *[FAILED] * 5, jitter=1.0).until == NOW + timedelta(seconds=33)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [(429, "97", 97), (503, "97", 97), (429, "99999", 3600), (500, "97", None), (400, "97", None), (429, None, None)],
)
def test_a_busy_third_party_is_left_alone_as_long_as_it_asks_but_an_hour_at_most(
    status: int, header: str | None, seconds: int | None
) -> None:
    found = _after(Circuit(), Reply(3, status, b"", header))
    assert found.until == (None if seconds is None else NOW + timedelta(seconds=seconds))


def _document(**changes: object) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {
        "schedule": {"delays_s": [0, 5], "jitter_share": 0.1, "retry_after_max_s": 60},
        "attempt": {"timeout_s": 20, "lease_s": 60},
        "recipient": {"in_flight": 8, "manual_look_s": 60},
        "circuit": {"failures": 5, "pause_s": 30, "pause_max_s": 600, "retry_after_max_s": 60},
    }
    for name, value in changes.items():
        part, _, key = name.partition("__")
        found[part][key] = value
    return found


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"schedule__delays_s": []}, "schedule.delays_s"),
        ({"schedule__delays_s": [5, 0]}, "schedule.delays_s"),
        ({"attempt__lease_s": 30}, "attempt.lease_s"),
        ({"recipient__in_flight": 0}, "recipient.in_flight"),
        ({"circuit__failures": 0}, "circuit.failures"),
    ],
)
def test_numbers_that_cannot_work_are_named(changes: dict[str, object], named: str) -> None:
    assert plan.parse(_document()).in_flight == 8
    with pytest.raises(PlanError, match=named):
        plan.parse(_document(**changes))


def test_the_published_schedule_takes_three_days() -> None:
    total = sum(plan.load().schedule.delays, timedelta())
    assert total == timedelta(hours=75, minutes=35, seconds=5)

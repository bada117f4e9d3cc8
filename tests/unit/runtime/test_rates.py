"""The token bucket: a burst, then so many a second, for each caller by itself: one's loop costs nobody else."""

import pytest

from services.runtime.problem import Problem
from services.runtime.rates import CALLERS_MAX, Rates

pytestmark = pytest.mark.f(32)
MEMBER, SERVICE = frozenset({"member"}), frozenset({"service"})


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def rates(time: Time) -> Rates:
    """Two a second for people, a hundred for services."""
    return Rates(2, 100, time)


def taken(rates: Rates, sub: str = "m", roles: frozenset[str] = MEMBER) -> int:
    """Take until there is nothing left; return how many there were."""
    return next(count for count in range(10_000) if not allowed(rates, sub, roles))


def allowed(rates: Rates, sub: str, roles: frozenset[str]) -> bool:
    try:
        rates.of_principal(sub, roles)
    except Problem as problem:
        return (problem.status, problem.code) != (429, "too_many_requests")
    return True


def test_a_bucket_holds_ten_seconds_and_fills_by_the_second(rates: Rates, time: Time) -> None:
    assert taken(rates) == 20
    time.now += 1
    assert taken(rates) == 2
    time.now += 3600
    assert taken(rates) == 20


def test_retry_after_says_when_the_next_one_is_there(time: Time) -> None:
    slow = Rates(0.25, 1, time)
    for _ in range(2):
        slow.of_address("192.0.2.1")
    with pytest.raises(Problem) as refused:
        slow.of_address("192.0.2.1")
    assert refused.value.headers == {"Retry-After": "2"}  # half a token is left, the other half comes in two seconds
    time.now += 2
    slow.of_address("192.0.2.1")


def test_each_caller_has_a_bucket_of_its_own(rates: Rates) -> None:
    assert taken(rates, "m") == 20
    assert taken(rates, "n") == 20
    rates.of_address("m")


@pytest.mark.parametrize(
    ("roles", "burst"),
    [
        ({"member"}, 20),
        ({"third_party"}, 20),
        ((), 20),
        ({"service"}, 1000),
        ({"affiliate"}, 1000),
        ({"compliance"}, 1000),
        ({"member", "service"}, 1000),
    ],
)
def test_who_acts_for_itself_needs_less_than_a_process(rates: Rates, roles: set[str], burst: int) -> None:
    assert taken(rates, "x", frozenset(roles)) == burst


def test_the_memory_for_callers_has_an_end_and_keeps_who_asks(rates: Rates) -> None:
    assert taken(rates, "loud") == 20
    for number in range(CALLERS_MAX + 10):
        rates.of_address(str(number))
        if number % 100 == 0:
            with pytest.raises(Problem):
                rates.of_principal("loud", MEMBER)
    assert len(rates._buckets) == CALLERS_MAX

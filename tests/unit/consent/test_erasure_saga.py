"""The saga's net: whatever goes wrong with one case is that case's; and what is too long for a code."""

from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.consent.erasure import saga

ANYTHING: Any = None


@pytest.mark.parametrize("error", [ValueError("secret"), AssertionError(), RuntimeError("secret"), OSError()])
async def test_a_step_that_fails_in_a_way_nobody_foresaw_ends_nothing(error: Exception) -> None:
    """Found in review: one case raised what was not on a list, and the consent process ended, again and again."""

    async def step(consent: Any, ids: Sequence[str]) -> int:
        raise error

    with capture_logs() as told:
        assert await saga._safely(step, ANYTHING, ["e1"]) == 0
    assert told == [
        {
            "event": "erasure_not_moved",
            "log_level": "warning",
            "erasure_id": "e1",
            "error": type(error).__name__,
        }
    ]


@pytest.mark.parametrize("wrong", [{"e3"}, {"e0", "e6"}, {"e2", "e3", "e4"}])
async def test_what_is_wrong_with_one_case_stops_no_other(wrong: set[str]) -> None:
    """Cases move together, in one transaction that fails as a whole: then the good ones move without the wrong ones."""
    moved: list[str] = []

    async def step(consent: Any, ids: Sequence[str]) -> int:
        if wrong & {*ids}:
            raise RuntimeError
        moved.extend(ids)
        return len(ids)

    cases = [f"e{number}" for number in range(7)]
    with capture_logs() as told:
        assert await saga._safely(step, ANYTHING, cases) == 7 - len(wrong)
    assert moved == [case for case in cases if case not in wrong]
    assert [entry["erasure_id"] for entry in told] == sorted(wrong)


@pytest.mark.parametrize(
    ("recipients", "code"),
    [(["tmax-os"], "tmax-os"), (["a", "b"], "a+b"), ([f"affiliate-{n:02}" for n in range(12)], "12")],
)
def test_recipients_that_are_too_many_for_a_code_are_counted(recipients: list[str], code: str) -> None:
    assert saga._named(recipients) == code

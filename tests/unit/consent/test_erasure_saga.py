"""The saga's net: whatever goes wrong with one case is that case's; and what is too long for a code."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from services.consent.erasure import saga

ANYTHING: Any = None


@pytest.mark.parametrize("error", [ValueError("secret"), AssertionError(), RuntimeError("secret"), OSError()])
async def test_a_step_that_fails_in_a_way_nobody_foresaw_ends_nothing(error: Exception) -> None:
    """Found in review: one case raised what was not on a list, and the consent process ended, again and again."""

    async def step(consent: Any, erasure_id: str) -> bool:
        raise error

    with capture_logs() as told:
        assert await saga._safely(step, ANYTHING, "e1") is None
    assert told == [
        {
            "event": "erasure_not_moved",
            "log_level": "warning",
            "erasure_id": "e1",
            "error": type(error).__name__,
        }
    ]


@pytest.mark.parametrize(
    ("recipients", "code"),
    [(["tmax-os"], "tmax-os"), (["a", "b"], "a+b"), ([f"affiliate-{n:02}" for n in range(12)], "12")],
)
def test_recipients_that_are_too_many_for_a_code_are_counted(recipients: list[str], code: str) -> None:
    assert saga._named(recipients) == code

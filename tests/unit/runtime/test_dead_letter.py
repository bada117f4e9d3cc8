"""A letter is about the place it names, when it names one; whoever wrote it may have written anything."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from services.runtime.dead_letter import origin_of, written_at

OWN = "t-dongui.facts.v1.dlq/2/9"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def a_letter(origin: bytes | None = None, timestamp: int = 0) -> Any:
    headers = [("dongui-origin", origin)]
    return SimpleNamespace(topic="t-dongui.facts.v1.dlq", partition=2, offset=9, headers=headers, timestamp=timestamp)


@pytest.mark.parametrize(
    ("stated", "origin"),
    [
        (b"dongui.affiliate.tmax-os.v1/3/17", "dongui.affiliate.tmax-os.v1/3/17"),
        (None, OWN),
        (b"", OWN),
        (b"dongui.facts.v1\x00/3/17", OWN),
        (b"\xff/3/17", OWN),
        (b"dongui.facts.v1/3/x", OWN),
        (b"dongui.facts.v1", OWN),
        (b"x" * 250 + b"/3/17", OWN),
    ],
)
def test_a_letter_is_about_the_place_it_names_or_else_about_its_own(stated: bytes | None, origin: str) -> None:
    assert origin_of(a_letter(stated)) == origin


@pytest.mark.parametrize(("timestamp", "at"), [(1_000, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)), (2**62, EPOCH)])
def test_a_time_that_no_calendar_has_is_another(timestamp: int, at: datetime) -> None:
    assert written_at(a_letter(timestamp=timestamp), EPOCH) == at

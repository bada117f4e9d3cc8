"""Which notices somebody may ask to have sent again."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.propagator.notices.redelivery import Selection, SelectionError

FROM = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    "selection",
    [
        Selection(ids=("6f1c1d0e-0000-4000-8000-000000000001",)),
        Selection(recipient="demo-partner"),
        Selection(since=FROM),
        Selection(recipient="demo-partner", since=FROM, until=FROM + timedelta(seconds=1)),
        Selection(since=FROM, until=datetime(2026, 11, 24, 9, 1, tzinfo=timezone(timedelta(hours=9)))),
    ],
)
def test_a_selection_that_says_something_is_taken(selection: Selection) -> None:
    selection.check()


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(), "say which"),
        (Selection(until=FROM), "say which"),
        (Selection(since=FROM.replace(tzinfo=None)), "offset"),
        (Selection(recipient="p", until=FROM.replace(tzinfo=None)), "offset"),
        (Selection(since=FROM, until=FROM), "not after"),
        (Selection(since=FROM, until=datetime(2026, 11, 24, 8, 59, tzinfo=timezone(timedelta(hours=9)))), "not after"),
    ],
)
def test_one_that_says_nothing_or_nonsense_is_refused_with_what_to_give(selection: Selection, said: str) -> None:
    with pytest.raises(SelectionError, match=said):
        selection.check()


def test_one_that_names_whom_staff_tell_is_refused_with_who_can() -> None:
    Selection(recipient="demo-partner").check({"other": "post"})
    with pytest.raises(SelectionError, match="staff tell demo-partner by e-mail or post"):
        Selection(recipient="demo-partner").check({"demo-partner": "post"})

"""Which notice may go before older ones of the same member and third party."""

from datetime import UTC, datetime, timedelta

import pytest

from services.propagator.notices.order import Goes, Older, Waits, decide

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
SOON, LATER, MUCH_LATER = (NOW + timedelta(seconds=s) for s in (1, 300, 7_200))


def _older(
    position: int, *items: str, attempts: int = 1, due_at: datetime = LATER, leased: bool = False, opened: bool = True
) -> Older:
    return Older(position, frozenset(items) if opened else None, attempts, due_at, leased)


@pytest.mark.parametrize(
    ("older", "expected"),
    [
        ([], Goes(())),
        ([_older(1, "email")], Goes((1,))),
        ([_older(1, "email", "name")], Goes((1,))),
        ([_older(1, "email"), _older(2, "name")], Goes((1, 2))),
        ([_older(1, "email", attempts=0, due_at=NOW)], Waits(SOON)),
        ([_older(1, "email", leased=True, due_at=NOW)], Waits(SOON)),
        ([_older(1, opened=False, attempts=1)], Waits(LATER)),
        ([_older(1, "email", "hypermeeting.phone")], Waits(LATER)),
        ([_older(1, "email"), _older(2, "hypermeeting.phone", due_at=MUCH_LATER)], Waits(MUCH_LATER)),
        ([_older(1, "wapl.photo", due_at=MUCH_LATER), _older(2, "hypermeeting.phone")], Waits(LATER)),
    ],
)
def test_a_newer_notice_goes_only_over_failed_ones_whose_items_it_carries(
    older: list[Older], expected: Goes | Waits
) -> None:
    assert decide(frozenset({"email", "name"}), older, NOW) == expected

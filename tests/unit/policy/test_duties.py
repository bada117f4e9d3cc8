"""The last day of each kind of duty, by hand from the worked dates of the law."""

from datetime import UTC, date, datetime

import pytest

from services.policy.duties import all_duties
from services.runtime.clock import KST


@pytest.mark.parametrize(
    ("kind", "event", "due", "warn"),
    [
        ("access_answer", datetime(2026, 11, 23, 10, tzinfo=KST), date(2026, 12, 3), date(2026, 11, 30)),
        ("correction_answer", datetime(2026, 11, 4, 9, tzinfo=KST), date(2026, 11, 16), date(2026, 11, 13)),
        ("suspension_answer", datetime(2026, 11, 1, 15, 30, tzinfo=UTC), date(2026, 11, 12), date(2026, 11, 9)),
        ("marketing_result", datetime(2026, 11, 23, 9, tzinfo=KST), date(2026, 12, 7), date(2026, 12, 2)),
        ("marketing_result", datetime(2026, 8, 1, 9, tzinfo=KST), date(2026, 8, 18), date(2026, 8, 13)),
        ("guardian_destroy", datetime(2026, 11, 23, 9, tzinfo=KST), date(2026, 11, 30), date(2026, 11, 28)),
        ("marketing_reconfirm", datetime(2024, 11, 24, 9, tzinfo=KST), date(2026, 11, 23), date(2026, 10, 24)),
        ("marketing_reconfirm", datetime(2024, 11, 23, 9, tzinfo=KST), date(2026, 11, 22), date(2026, 10, 23)),
        ("marketing_reconfirm", datetime(2024, 2, 29, 9, tzinfo=KST), date(2026, 2, 27), date(2026, 1, 28)),
        ("source_notice", datetime(2026, 11, 23, 9, tzinfo=KST), date(2027, 2, 23), date(2027, 1, 24)),
        ("investigation_report", datetime(2026, 12, 31, 12, tzinfo=KST), date(2027, 2, 1), date(2027, 1, 22)),
    ],
)
def test_a_duty_ends_on_the_day_the_law_says(kind: str, event: datetime, due: date, warn: date) -> None:
    duty = all_duties()[kind]
    assert (duty.due_on(event), duty.warn_on(event)) == (due, warn)


def test_every_duty_cites_a_clause_and_a_statute() -> None:
    assert all(duty.clause and duty.statute and duty.ko for duty in all_duties().values())

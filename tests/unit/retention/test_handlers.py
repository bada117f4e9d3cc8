"""What the retention process refuses whoever sent it: fields beyond the class, a period that is over."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

import pytest

from services.retention.handlers import RefusedError, check
from tests.unit.schemas.samples import RECORD

AT = datetime(2026, 11, 24, 3, tzinfo=UTC)


@dataclass
class Case:
    changes: dict[str, object]
    code: str


@pytest.mark.parametrize(
    "case",
    [
        Case({"fields": {"amount": "1", "birth_date": "1990-01-01"}}, "field_not_allowed"),
        Case({"fields": {"password_hash": "x"}}, "field_not_allowed"),
        Case({"party": {"name": "홍길동", "phone": "010"}}, "field_not_allowed"),
        # An address identifies the party of a deal, not the visitor of a page.
        Case({"record_class": "visit", "fields": {}, "party": {"address": "서울"}}, "field_not_allowed"),
        # 15:00 UTC on the 24th is the 25th in Korea; at 12:00 the day is not here yet.
        Case({"destroy_on": date(2026, 11, 24)}, "keeping_over"),
    ],
)
def test_what_may_not_be_kept_is_refused_with_a_code(case: Case) -> None:
    with pytest.raises(RefusedError) as caught:
        check(RECORD.model_copy(update=case.changes), AT)
    assert caught.value.code == case.code


def test_what_the_class_allows_passes_until_its_last_day_is_over() -> None:
    check(RECORD, AT)
    check(RECORD.model_copy(update={"destroy_on": date(2026, 11, 25)}), AT)

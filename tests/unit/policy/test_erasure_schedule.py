"""When a destruction runs, by hand from the worked dates of the law (law.md C2), and what its data must say."""

from datetime import date, datetime

import pytest

from services.policy.duties import all_duties
from services.policy.erasure import Standing, catalogue
from services.runtime.clock import KST


def kst(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=KST)


@pytest.mark.parametrize(
    ("confirmed", "due_on", "execute_from", "start_by", "shred_by"),
    [
        ("2026-11-26T10:00", date(2026, 12, 1), "2026-11-27T10:00", "2026-12-01T00:00", "2026-12-01T18:00"),
        ("2026-11-23T10:00", date(2026, 11, 30), "2026-11-24T10:00", "2026-11-30T00:00", "2026-11-30T18:00"),
        ("2027-02-03T09:00", date(2027, 2, 10), "2027-02-04T09:00", "2027-02-10T00:00", "2027-02-10T18:00"),
    ],
)
def test_a_destruction_runs_after_a_day_and_ends_within_the_laws_five(
    confirmed: str, due_on: date, execute_from: str, start_by: str, shred_by: str
) -> None:
    found = catalogue().schedule(kst(confirmed))
    assert found.due_on == due_on
    assert (found.execute_from, found.start_by, found.shred_by) == (kst(execute_from), kst(start_by), kst(shred_by))


def test_withdrawal_and_dormancy_stand_approved_and_a_deletion_request_needs_a_second_person() -> None:
    at = kst("2026-11-23T10:00")
    approved = {name: one.approval(at) is not None for name, one in catalogue().classes.items()}
    assert approved == {"withdrawal": True, "dormancy": True, "deletion_request": False}


def test_a_standing_approval_holds_from_its_day_on_and_not_before() -> None:
    withdrawal = catalogue().classes["withdrawal"]
    assert withdrawal.approval(kst("2021-02-21T23:59")) is None
    standing = withdrawal.approval(kst("2021-02-22T00:00"))
    assert isinstance(standing, Standing)
    assert (standing.version, standing.approved_by) == ("2021-02-22", "cpo")


def test_every_class_cites_a_clause_and_every_hold_has_words_in_both_languages() -> None:
    assert all(one.clause and one.statute and one.ko != one.en for one in catalogue().classes.values())
    assert all(one.ko != one.en for one in catalogue().holds.values())


@pytest.mark.parametrize(
    ("kind", "event", "due"),
    [
        ("destruction", "2026-11-26T10:00", date(2026, 12, 1)),
        ("destruction", "2026-11-23T10:00", date(2026, 11, 30)),
        ("destruction_confirm", "2026-11-29T10:00", date(2026, 12, 29)),
        ("destruction_answer", "2026-11-30T18:00", date(2026, 12, 7)),
    ],
)
def test_a_duty_of_destruction_ends_on_the_day_the_law_says(kind: str, event: str, due: date) -> None:
    assert all_duties()[kind].due_on(kst(event)) == due

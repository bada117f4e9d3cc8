"""How long what is kept, by hand from law.md D (D-1 to D-5, H1) and the Civil Act table (D9 to D14)."""

import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from services.policy.retention import KeepRule, KeptClass, NotKeptError, all_classes, kept, why
from services.policy.rights import catalogue
from services.runtime.clock import KST

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("of", "occurred", "last_day", "rule"),
    [
        # 5 years from 2021-02-22: raw Sunday 2026-02-22, kept through Monday (D12).
        ("contract", datetime(2021, 2, 22, 10, tzinfo=KST), date(2026, 2, 23), "ecommerce.contract"),
        ("payment", datetime(2021, 3, 3, 10, tzinfo=KST), date(2026, 3, 3), "ecommerce.payment"),
        ("payment", datetime(2024, 2, 29, 10, tzinfo=KST), date(2029, 2, 28), "ecommerce.payment"),
        ("dispute", datetime(2023, 11, 23, 10, tzinfo=KST), date(2026, 11, 23), "ecommerce.dispute"),
        # 2026-11-23 is Monday.
        ("visit", datetime(2026, 8, 23, 10, tzinfo=KST), date(2026, 11, 23), "comms_secrecy.visit"),
        ("visit", datetime(2026, 4, 30, 10, tzinfo=KST), date(2026, 7, 31), "comms_secrecy.visit"),
        ("advertising", datetime(2026, 5, 31, 10, tzinfo=KST), date(2026, 11, 30), "ecommerce.advertising"),
        # 15:30 UTC on the 22nd is the 23rd in Korea.
        ("visit", datetime(2026, 8, 22, 15, 30, tzinfo=UTC), date(2026, 11, 23), "comms_secrecy.visit"),
    ],
)
def test_a_record_is_kept_through_its_last_day_and_goes_on_the_next(
    of: str, occurred: datetime, last_day: date, rule: str
) -> None:
    found = kept(all_classes()[of], occurred)
    assert (found.last_day, found.rule.id) == (last_day, rule)
    assert (found.destroy_on - last_day).days == 1


@pytest.mark.parametrize(("persons", "last_day"), [(49_999, date(2025, 11, 24)), (50_000, date(2026, 11, 23))])
def test_the_log_of_accesses_is_kept_two_years_from_fifty_thousand_members(persons: int, last_day: date) -> None:
    # From 2024-11-23: a year ends on Sunday 2025-11-23 and moves on; two end on Monday 2026-11-23.
    found = kept(all_classes()["access_log"], datetime(2024, 11, 23, 10, tzinfo=KST), persons=persons)
    assert found.last_day == last_day


def test_the_longest_of_the_rules_in_force_wins_and_all_are_told() -> None:
    rules = [
        {
            "id": "short",
            "clause": "2.1",
            "statute": "s",
            "months": 3,
            "effective_from": datetime(2021, 1, 1, tzinfo=KST),
        },
        {"id": "long", "clause": "2.1", "statute": "s", "years": 5, "effective_from": datetime(2021, 1, 1, tzinfo=KST)},
        {
            "id": "later",
            "clause": "2.1",
            "statute": "s",
            "years": 9,
            "effective_from": datetime(2027, 1, 1, tzinfo=KST),
        },
    ]
    of = KeptClass.model_validate({"id": "x", "ko": "", "en": "", "anchor_ko": "", "anchor_en": "", "rule": rules})
    found = kept(of, datetime(2022, 1, 3, 10, tzinfo=KST))
    assert found.rule.id == "long"
    assert [(rule.id, day) for rule, day in found.candidates] == [
        ("short", date(2022, 4, 4)),  # raw Sunday 2022-04-03
        ("long", date(2027, 1, 4)),  # raw Sunday 2027-01-03
    ]


def test_nothing_is_kept_by_a_rule_that_was_not_in_force() -> None:
    with pytest.raises(NotKeptError):
        kept(all_classes()["payment"], datetime(2001, 1, 2, tzinfo=KST))


def test_a_rule_has_exactly_one_period() -> None:
    told = {"id": "x", "clause": "2.1", "statute": "s", "effective_from": datetime(2021, 1, 1, tzinfo=KST)}
    for periods in ({}, {"months": 1, "years": 1}):
        with pytest.raises(ValueError, match="one period"):
            KeepRule.model_validate(told | periods)


def test_no_class_may_hold_what_the_decree_does_not_list_as_identification() -> None:
    """Decree 6(2): name, address, e-mail address and the like; no item of clause 6.2 beside them."""
    items = tomllib.loads((ROOT / "services/policy/rules/items.toml").read_text(encoding="utf-8"))["item"]
    never = {item["id"] for item in items} - {"name", "email"} - {"title"}
    visited = {"ip", "visited_at", "device"}  # what a visit log is (decree 41(2)2 of the secrecy act)
    for of in all_classes().values():
        held = of.party | of.fields
        assert held & never <= (visited if of.id == "visit" else set()), of.id
        assert of.party <= {"name", "email", "address"}


@pytest.mark.parametrize("name", ["password", "password_hash", "birth_date", "photo", "friends", "phone", "marketing"])
def test_what_a_record_may_not_hold_is_named(name: str) -> None:
    for of in all_classes().values():
        assert of.not_allowed(["amount", name])[-1:] == [name] or name in of.not_allowed([name])


def test_the_classes_are_those_whose_deletion_a_statute_forbids() -> None:
    """A deletion is refused for exactly what is kept: two lists of one policy (5.5 and 2.1)."""
    named = {record for statute in catalogue().statutes.values() for record in statute.records}
    assert named == {of.id for of in all_classes().values() if of.accepted}


def test_why_names_the_statute_the_anchor_and_every_rule() -> None:
    told = why("contract", "ecommerce.contract", datetime(2021, 2, 22, 10, tzinfo=KST), date(2026, 2, 24))
    assert told.statute == "전자상거래법 6조, 시행령 6조 1항 2호"
    assert told.ko == "계약 또는 청약철회를 한 날 2021-02-22, 5년 → 2026-02-23까지 보존"
    assert told.considered == {"policy.contract": "2026-02-23", "ecommerce.contract": "2026-02-23"}

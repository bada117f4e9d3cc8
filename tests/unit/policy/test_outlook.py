"""The outlook of destructions: day by day, by class, with the reason; what is over goes first, what is held stays."""

from datetime import date

from services.policy.outlook import outlook

FIRST, LAST = date(2026, 11, 24), date(2026, 12, 31)


def row(name: str, of: str, occurred_at: str, destroy_on: str, *, held: bool = False) -> dict[str, object]:
    rule = {"contract": "ecommerce.contract", "visit": "comms_secrecy.visit"}[of]
    told = {"record_id": name, "class": of, "occurred_at": occurred_at, "destroy_on": destroy_on, "rule": rule}
    return {**told, "place": "consent", "held": held}


ROWS = [
    row("c", "visit", "2026-08-30T10:00:00+09:00", "2026-12-01"),
    row("a", "contract", "2021-11-20T10:00:00+09:00", "2026-11-21"),
    row("b", "visit", "2026-08-29T16:00:00Z", "2026-12-01"),
    row("d", "visit", "2026-08-24T10:00:00+09:00", "2026-11-25", held=True),
]


def test_each_goes_on_its_day_and_what_is_over_on_the_first() -> None:
    found = outlook(ROWS, FIRST, LAST)
    assert [(r["record_id"], r["destroyed_on"]) for r in found["records"]] == [
        ("a", "2026-11-24"),
        ("d", "2026-11-25"),
        ("b", "2026-12-01"),
        ("c", "2026-12-01"),
    ]


def test_counts_and_series_leave_out_what_a_hold_keeps() -> None:
    found = outlook(ROWS, FIRST, LAST)
    assert found["counts"] == {"contract": 1, "visit": 2}
    assert found["series"] == {
        "days": ["2026-11-24", "2026-12-01"],
        "by_class": {"contract": [1, 0], "visit": [0, 2]},
    }


def test_each_says_by_which_rule_and_why() -> None:
    first = outlook(ROWS, FIRST, LAST)["records"][0]
    assert first["statute"] == "전자상거래법 6조, 시행령 6조 1항 2호"
    assert first["why"] == "계약 또는 청약철회를 한 날 2021-11-20, 5년 → 2026-11-20까지 보존"
    assert first["considered"] == {"policy.contract": "2026-11-20", "ecommerce.contract": "2026-11-20"}


def test_nothing_to_destroy_is_an_empty_outlook() -> None:
    found = outlook([], FIRST, LAST)
    assert (found["records"], found["counts"], found["series"]) == ([], {}, {"days": [], "by_class": {}})

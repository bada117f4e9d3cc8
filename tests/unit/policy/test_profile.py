"""Clause 6.2, row by row."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.policy.decide import validate_profile
from services.policy.model import load

RULES = load()
HOST = {"department": "클라우드사업부", "title": "책임", "phone": "010-0000-0000"}
WAPL_OPTIONAL = {
    "office_phone": "02-000-0000",
    "contact_email": "desk@example.com",
    "birth_date": "1990-01-01",
    "department": "개발부",
    "title": "선임",
    "photo": "photos/1.png",
    "friends": ["m1", "m2"],
}


def found(service: str, role: str, items: dict[str, Any]) -> list[tuple[str, str]]:
    return [(v.pointer, v.code) for v in validate_profile(RULES, service, role, items)]


@pytest.mark.parametrize(
    ("service", "role", "required", "optional"),
    [
        ("hypermeeting", "admin", {"customer_name"}, {"phone"}),
        ("hypermeeting", "host", {"department", "title", "phone"}, set()),
        ("hypermeeting", "member", set(), set()),
        ("wapl", "admin", set(), set(WAPL_OPTIONAL)),
        ("wapl", "room_manager", set(), set(WAPL_OPTIONAL)),
        ("wapl", "member", set(), set(WAPL_OPTIONAL)),
    ],
)
def test_the_table_of_clause_6_2(service: str, role: str, required: set[str], optional: set[str]) -> None:
    entry = RULES.services[service].role(role)
    assert entry is not None
    assert set(entry.required) == required
    assert set(entry.optional) == optional


@pytest.mark.parametrize(
    ("service", "role", "items"),
    [
        ("hypermeeting", "admin", {"customer_name": "고객사"}),
        ("hypermeeting", "admin", {"customer_name": "고객사", "phone": "010"}),
        ("hypermeeting", "host", HOST),
        ("hypermeeting", "member", {}),
        ("hypermeeting", "user", {}),
        ("hypermeeting", "general", {}),
        ("wapl", "admin", {}),
        ("wapl", "room_manager", WAPL_OPTIONAL),
        ("wapl", "member", {"friends": []}),
    ],
)
def test_a_profile_with_its_required_items_is_right_and_optional_ones_may_be_absent(
    service: str, role: str, items: dict[str, Any]
) -> None:
    assert found(service, role, items) == []


@pytest.mark.parametrize("absent", sorted(HOST))
def test_each_required_item_is_missed(absent: str) -> None:
    items = {k: v for k, v in HOST.items() if k != absent}
    assert found("hypermeeting", "host", items) == [(f"/{absent}", "missing_item")]


@pytest.mark.parametrize(
    ("service", "role", "items", "expected"),
    [
        ("teams", "host", {}, ("/service", "unknown_service")),
        ("hypermeeting", "boss", {}, ("/role", "unknown_role")),
        ("hypermeeting", "", {}, ("/role", "missing_role")),
        ("hypermeeting", "member", {"phone": "010"}, ("/phone", "unknown_item")),
        ("hypermeeting", "host", HOST | {"resident_number": "1"}, ("/resident_number", "unknown_item")),
        ("wapl", "member", {"email": "a@example.com"}, ("/email", "account_item")),
        ("wapl", "member", {"password": "x"}, ("/password", "account_item")),
        ("wapl", "member", {"password_hash": "x"}, ("/password_hash", "account_item")),
        ("wapl", "member", {"name": "x"}, ("/name", "account_item")),
        ("wapl", "member", {"홍길동 010": "x"}, ("/*", "unknown_item")),
        ("wapl", "member", {"birth_date": "2020/01/01"}, ("/birth_date", "ill_formed")),
        ("wapl", "member", {"birth_date": "2026-02-30"}, ("/birth_date", "ill_formed")),
        ("wapl", "member", {"birth_date": "어린이"}, ("/birth_date", "ill_formed")),
    ],
)
def test_what_the_table_does_not_have_is_refused(
    service: str, role: str, items: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert found(service, role, items) == [expected]


@pytest.mark.parametrize(
    "value", ["", "   ", "a" * 201, 7, None, True, ["a"], {"a": "b"}, "a\x00b", "a\nb", "\ud800"], ids=repr
)
def test_a_text_is_one_to_200_characters_without_control_characters(value: Any) -> None:
    assert found("wapl", "member", {"title": value}) == [("/title", "ill_formed")]


@pytest.mark.parametrize("value", ["m1", ["m1", 2], [""], [["m1"]], ["m"] * 501], ids=lambda v: str(v)[:20])
def test_friends_are_a_list_of_texts(value: Any) -> None:
    assert found("wapl", "member", {"friends": value}) == [("/friends", "ill_formed")]


def test_limits_are_inclusive() -> None:
    assert found("wapl", "member", {"title": "가" * 200, "friends": ["m"] * 500}) == []


def test_an_answer_names_the_items_that_would_be_right() -> None:
    (unknown,) = validate_profile(RULES, "hypermeeting", "host", HOST | {"dept": "x"})
    assert unknown.known == ("department", "title", "phone")
    (service,) = validate_profile(RULES, "zoom", "host", {})
    assert service.known == ("hypermeeting", "wapl")
    (role,) = validate_profile(RULES, "wapl", "guest", {})
    assert role.known == ("admin", "room_manager", "member")


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4)


@given(
    st.sampled_from(("hypermeeting", "wapl")),
    st.sampled_from(("admin", "host", "member")),
    st.dictionaries(st.text() | st.sampled_from(sorted(WAPL_OPTIONAL)), json_values),
)
def test_whatever_comes_in_is_judged_and_no_value_comes_out(service: str, role: str, items: dict[str, Any]) -> None:
    for violation in validate_profile(RULES, service, role, items):
        assert violation.pointer.startswith("/")
        assert violation.pointer[1:] in {"*", "role", *RULES.items, *(k for k in items if k.isascii())}

"""Who is a child, and whose a consent then is: law.md A10, every expectation by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.consent import age, agreed
from services.consent.bodies import ConsentBody, SignUpBody
from services.consent.model import ConsentRef, Member, Profile
from services.policy.model import load
from services.runtime.problem import Problem

AT = datetime(2026, 11, 23, 1, tzinfo=UTC)
TURNS_14 = datetime(2026, 11, 23, 15, tzinfo=UTC)
"""2026-11-24 00:00 in Korea: someone born on 2012-11-24 turns 14 (law notes A10)."""
USE = ConsentRef("marketing", "tmax-os", "use")


def a_member(**changes: Any) -> Member:
    plain = Member("0192f0c4-7c1e-7000-8000-5f2d9c1e0a11", 2, "active", AT, "m@example.com", "홍길동")
    return replace(plain, **changes)


def wapl(born: str) -> dict[str, Profile]:
    return {"wapl": Profile("wapl", "member", {"birth_date": born})}


@pytest.mark.parametrize(
    ("member", "at", "child"),
    [
        (a_member(birth_date=date(2020, 1, 1)), AT, True),
        (a_member(birth_date=date(2012, 11, 24)), TURNS_14 - timedelta(seconds=1), True),
        (a_member(birth_date=date(2012, 11, 24), guardian_confirmed=True), TURNS_14, False),
        (a_member(birth_date=date(2000, 1, 1)), AT, False),
        (a_member(), AT, False),
        (a_member(guardian_confirmed=True), AT, True),
        (a_member(guardian_confirmed=True, status="withdrawn"), AT, False),
        (a_member(profiles=wapl("2020-01-01")), AT, True),
        (a_member(profiles=wapl("2020-01-01"), birth_date=date(2000, 1, 1)), AT, True),
        (a_member(profiles=wapl("2000-01-01")), AT, False),
        (a_member(profiles=wapl("2000-01-01"), guardian_confirmed=True), AT, True),
        (a_member(profiles=wapl("모름")), AT, False),
    ],
)
def test_a_birth_date_tells_a_child_and_without_one_its_guardian_does(
    member: Member, at: datetime, child: bool
) -> None:
    assert age.is_child(member, at) is child
    assert age.is_of_age(member, at) is (member.birth_date is not None and not child)


def put(member: Member, purpose: str = "marketing", **body: Any) -> Any:
    wanted = ConsentBody(**({"granted": True, "notice_version": "2021-02-22"} | body))
    return agreed.step_of(load(), purpose, wanted, AT)(member)


def refused(*args: Any, **body: Any) -> str:
    with pytest.raises(Problem) as found:
        put(*args, **body)
    return found.value.code


BY_GUARDIAN = {"guardian": {"method": "paper"}}
CHILDREN = [a_member(birth_date=date(2020, 1, 1)), a_member(guardian_confirmed=True)]


@pytest.mark.parametrize("child", CHILDREN)
@pytest.mark.parametrize("purpose", ["collection", "sharing", "marketing"])
def test_each_consent_of_a_child_is_the_guardians(child: Member, purpose: str) -> None:
    assert refused(child, purpose) == "guardian_needed"
    assert put(child, purpose, **BY_GUARDIAN).given


def test_a_child_may_take_back_and_an_adult_needs_no_guardian() -> None:
    child = a_member(birth_date=date(2020, 1, 1), consents=frozenset({USE}))
    assert USE in put(child, granted=False, senders=["tmax-os"]).ended
    assert put(a_member(), senders=["tmax-os"]).given == (USE,)
    assert refused(a_member(), **BY_GUARDIAN) == "guardian_not_needed"


def test_what_is_refused_whoever_consents_is_said_first() -> None:
    child = a_member(birth_date=date(2020, 1, 1))
    assert refused(child, channel="email") == "marketing_use_required"
    assert refused(replace(child, status="withdrawal_requested")) == "member_not_active"
    assert refused(a_member(status="withdrawn", guardian_confirmed=True)) == "member_withdrawn"


def a_body(**changes: Any) -> SignUpBody:
    account = {"email": "m@example.com", "name": "홍길동", "password": "correct horse", "notice_version": "2021-02-22"}
    return SignUpBody.model_validate(account | {"consents": {"collection": True}} | changes)


def wapl_born(born: str) -> dict[str, Any]:
    return {"profiles": [{"service": "wapl", "role": "member", "birth_date": born}]}


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({}, False),
        ({"birth_date": "2020-01-01"}, True),
        ({"birth_date": "2000-01-01"}, False),
        ({"age_declaration": False}, True),
        ({"age_declaration": False, "birth_date": "2000-01-01"}, False),
        (wapl_born("2020-01-01"), True),
        (wapl_born("2020-01-01") | {"birth_date": "2000-01-01"}, True),
        (wapl_born("2012-11-24"), True),
        (wapl_born("2012-11-23"), False),
        (wapl_born("2000-01-01") | {"age_declaration": False}, True),
    ],
)
def test_the_youngest_birth_date_of_a_sign_up_says_whether_it_waits(changes: dict[str, Any], waits: bool) -> None:
    body = a_body(**changes)
    age.check_sign_up(body, AT)
    assert age.waits(body, AT) is waits


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        (wapl_born("2020-01-01") | {"age_declaration": True}, "age_declaration_contradicted", "/age_declaration"),
        (wapl_born("2026-11-24"), "birth_date_in_future", "/profiles/0/birth_date"),
        ({"birth_date": "9998-12-31", "age_declaration": True}, "birth_date_in_future", "/birth_date"),
    ],
)
def test_a_birth_date_that_belies_the_declaration_or_is_to_come_is_refused(
    changes: dict[str, Any], code: str, pointer: str
) -> None:
    with pytest.raises(Problem) as found:
        age.check_sign_up(a_body(**changes), AT)
    assert (found.value.code, found.value.extra["errors"][0]["pointer"]) == (code, pointer)


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (a_member(), {"profiles": wapl("2020-01-01")}, True),
        (a_member(), {"profiles": wapl("2000-01-01")}, False),
        (a_member(status="pending_guardian"), {"profiles": wapl("2000-01-01")}, True),
        (
            a_member(status="withdrawal_requested", status_before="pending_guardian"),
            {"profiles": wapl("2000-01-01")},
            True,
        ),
        (a_member(guardian_confirmed=True), {"profiles": wapl("2000-01-01")}, True),
        (a_member(birth_date=date(2020, 1, 1)), {"profiles": wapl("2020-01-01")}, False),
        (a_member(birth_date=date(2020, 1, 1)), {"name": "김하나"}, False),
    ],
)
def test_a_member_corrects_no_birth_date_that_decides_about_a_guardian(
    before: Member, after: dict[str, Any], refused: bool
) -> None:
    try:
        age.check_correction(before, replace(before, **after), AT)
        said = None
    except Problem as problem:
        said = problem.code
    assert said == ("birth_date_by_request" if refused else None)

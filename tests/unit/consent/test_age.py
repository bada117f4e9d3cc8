"""Who is a child, and whose a consent then is: law.md A10, every expectation by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.consent import age, agreed
from services.consent.bodies import ConsentBody
from services.consent.model import ConsentRef, Member
from services.policy.model import load
from services.runtime.problem import Problem

AT = datetime(2026, 11, 23, 1, tzinfo=UTC)
TURNS_14 = datetime(2026, 11, 23, 15, tzinfo=UTC)
"""2026-11-24 00:00 in Korea: someone born on 2012-11-24 turns 14 (law notes A10)."""
USE = ConsentRef("marketing", "tmax-os", "use")


def a_member(**changes: Any) -> Member:
    plain = Member("0192f0c4-7c1e-7000-8000-5f2d9c1e0a11", 2, "active", AT, "m@example.com", "홍길동")
    return replace(plain, **changes)


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

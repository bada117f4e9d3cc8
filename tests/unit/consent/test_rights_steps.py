"""What a granted request makes of a member, by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from services.consent import model
from services.consent.model import Member, Profile
from services.consent.rights import steps
from services.policy.model import load
from services.runtime.problem import Problem

AT = datetime(2026, 11, 24, 3, tzinfo=UTC)
WAPL = Profile("wapl", "member", {"title": "책임", "friends": ["가"]})
HOST = Profile("hypermeeting", "host", {"phone": "1", "department": "d", "title": "t"})
MEMBER = Member("m", 5, "active", AT, "a@example.com", "이름", "hash", profiles={"wapl": WAPL, "hypermeeting": HOST})

NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize("before", ["active", "dormant_notified"])
def test_a_release_returns_to_what_was_before(before: str) -> None:
    member = replace(MEMBER, status=before)
    suspended = steps.suspend(member)
    assert (suspended.change, suspended.member.status) == ("suspended", "suspended")
    released = steps.release(suspended.member, NONE)
    assert (released.change, released.note) == ("released", "suspension")
    assert released.member == member


def test_a_suspension_and_a_withdrawal_request_end_in_either_order() -> None:
    asked = model.request_withdrawal(MEMBER, AT).member
    both = steps.suspend(asked).member
    assert both.status == "suspended"
    assert steps.release(both, NONE).member == asked
    assert model.cancel_withdrawal(both).member.status == "suspended"
    assert steps.release(model.cancel_withdrawal(both).member, NONE).member == MEMBER
    assert model.confirm_withdrawal(both, AT).member.status == "withdrawn"


def test_a_withdrawal_request_made_under_a_suspension_outlives_its_release() -> None:
    suspended = steps.suspend(MEMBER).member
    both = model.request_withdrawal(suspended, AT).member
    assert steps.is_suspended(both)
    released = steps.release(both, NONE).member
    assert (released.status, steps.is_suspended(released)) == ("withdrawal_requested", False)
    assert model.cancel_withdrawal(released).member == MEMBER
    assert model.cancel_withdrawal(both).member.status == "suspended"


def test_a_whole_suspension_lifts_with_it_the_part_that_nobody_keeps() -> None:
    """While everything is suspended a part is not given back: so its release is a new provision only now."""
    member = steps.suspend(replace(MEMBER, suspended=frozenset({"wapl.title", "email", "P1.4"}))).member
    released = steps.release(member, frozenset({"email"}))
    assert (released.member.status, released.member.suspended) == ("active", {"email"})
    assert (released.lifted, released.note) == ({"wapl.title", "P1.4"}, "suspension")
    narrowed = steps.narrow(member, frozenset({"email", "name"}))
    assert (narrowed.member.status, narrowed.member.suspended) == ("active", {"email", "name"})
    assert (narrowed.lifted, narrowed.note) == ({"wapl.title", "P1.4"}, "suspension_in_part")


@pytest.mark.parametrize("status", ["withdrawn", "erased", "pending_guardian"])
def test_there_is_nothing_to_suspend_of_one_who_left_or_waits_for_a_guardian(status: str) -> None:
    with pytest.raises(Problem) as refused:
        steps.suspend(replace(MEMBER, status=status))
    assert refused.value.status == 409


@pytest.mark.parametrize("asked_to_leave", [False, True])
def test_nothing_is_released_where_nothing_is_suspended_least_of_all_a_child_that_waits(asked_to_leave: bool) -> None:
    child = replace(MEMBER, status="pending_guardian")
    child = model.request_withdrawal(child, AT).member if asked_to_leave else child
    for member in (child, MEMBER):
        with pytest.raises(Problem) as refused:
            steps.release(member, NONE)
        assert (refused.value.status, refused.value.code) == (409, "nothing_to_release")


def test_items_and_whole_services_go_and_nothing_else() -> None:
    step = steps.delete_items(MEMBER, frozenset({"wapl.friends", "hypermeeting", "wapl.photo"}))
    assert step.member == replace(MEMBER, profiles={"wapl": Profile("wapl", "member", {"title": "책임"})})
    hypermeeting = {f"hypermeeting.{i}" for i in ("role", "phone", "department", "title")}
    assert (step.change, step.items, step.note) == ("corrected", hypermeeting | {"wapl.friends"}, model.DELETION)


@pytest.mark.parametrize(
    ("item", "kept"),
    [
        ("wapl.friends", False),
        ("wapl.photo", False),
        ("wapl", False),
        ("wapl.role", True),
        ("hypermeeting.phone", True),
        ("hypermeeting", False),
        ("email", True),
        ("name", True),
        ("password_hash", True),
        ("record.contract", True),
        ("birth_date", False),
    ],
)
def test_what_can_go_alone(item: str, kept: bool) -> None:
    assert steps.not_deletable(load(), MEMBER, frozenset({item}), AT) == ([item] if kept else [])


def test_the_birth_date_of_a_child_stays() -> None:
    child = replace(MEMBER, birth_date=date(2015, 1, 1))
    assert steps.not_deletable(load(), child, frozenset({"birth_date"}), AT) == ["birth_date"]
    grown = replace(MEMBER, birth_date=date(1990, 1, 1))
    assert steps.delete_items(grown, frozenset({"birth_date"})).member.birth_date is None


def test_the_birth_date_of_a_child_in_a_profile_stays_as_the_accounts_does() -> None:
    for born, kept in (("2015-01-01", ["wapl.birth_date"]), ("1990-01-01", [])):
        member = replace(MEMBER, profiles={"wapl": Profile("wapl", "member", {"birth_date": born})})
        assert steps.not_deletable(load(), member, frozenset({"wapl.birth_date"}), AT) == kept


CHILD, ADULT = date(2020, 1, 1), date(2000, 1, 1)


def corrected(member: Member, **changes: object) -> model.Step:
    return steps.age_gate(model.correct(member, **changes), AT)


def test_a_birth_date_corrected_to_a_childs_makes_the_member_wait_for_a_guardian() -> None:
    step = corrected(MEMBER, birth_date=CHILD)
    assert (step.change, step.note, step.member.status) == ("corrected", "pending_guardian", "pending_guardian")
    assert step.items == {"birth_date"}
    in_profile = {"wapl": Profile("wapl", "member", {"birth_date": "2020-01-01"})}
    assert corrected(MEMBER, profiles=in_profile).member.status == "pending_guardian"
    leaving = corrected(model.request_withdrawal(MEMBER, AT).member, birth_date=CHILD).member
    assert (leaving.status, leaving.in_force) == ("withdrawal_requested", "pending_guardian")
    assert model.cancel_withdrawal(leaving).member.status == "pending_guardian"


def test_other_corrections_ask_for_no_guardian_nor_does_one_of_a_child_that_has_one() -> None:
    for member, changes in (
        (MEMBER, {"birth_date": ADULT}),
        (replace(MEMBER, birth_date=CHILD), {"name": "김하나"}),
        (replace(MEMBER, guardian_confirmed=True), {"birth_date": CHILD}),
    ):
        step = corrected(member, **changes)
        assert (step.member.status, step.note) == ("active", None)


def test_no_childs_birth_date_is_put_in_while_all_is_suspended() -> None:
    with pytest.raises(Problem) as refused:
        corrected(steps.suspend(MEMBER).member, birth_date=CHILD)
    assert refused.value.code == "release_first"


def test_a_birth_date_that_was_wrong_ends_the_wait_under_the_members_own_consents() -> None:
    own = frozenset({model.ConsentRef("sharing", "tmax-os")})
    waiting = replace(MEMBER, status="pending_guardian", birth_date=CHILD, consents=own)
    step = corrected(waiting, birth_date=ADULT)
    assert step.member.status == "pending_guardian"
    assert steps.shows_of_age(waiting, step, AT)
    released = steps.of_age(step.member)
    assert (released.change, released.note) == ("released", "birth_date_corrected")
    assert (released.member.status, released.member.consents) == ("active", own)
    leaving = steps.of_age(model.request_withdrawal(waiting, AT).member).member
    assert (leaving.status, leaving.in_force) == ("withdrawal_requested", "withdrawal_requested")


def test_what_shows_no_age_ends_no_wait() -> None:
    waiting = replace(MEMBER, status="pending_guardian", birth_date=CHILD)
    assert not steps.shows_of_age(waiting, corrected(waiting, birth_date=date(2019, 1, 1)), AT)
    assert not steps.shows_of_age(waiting, corrected(waiting, name="김하나"), AT)
    assert not steps.shows_of_age(MEMBER, corrected(MEMBER, birth_date=ADULT), AT)

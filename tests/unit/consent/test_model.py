"""The model: what each command makes of a member, and what it refuses."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from schemas.base import Marketing
from services.consent import model
from services.consent.model import ConsentRef, Member, Profile
from services.runtime.problem import Problem

AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
OS, ANC = ConsentRef("sharing", "tmax-os"), ConsentRef("sharing", "tmax-anc")
USE, EMAIL = ConsentRef("marketing", "tmax-os", "use"), ConsentRef("marketing", "tmax-os", "email")


def a_member(**changes: Any) -> Member:
    made = Member(
        member_ref="ref",
        seq=2,
        status="active",
        signed_up_at=AT,
        email="a@example.com",
        name="홍길동",
        password_hash="$argon2id$",
        birth_date=date(2000, 1, 2),
        profiles={"wapl": Profile("wapl", "member", {"title": "책임"})},
        consents=frozenset({OS, USE, EMAIL}),
    )
    return replace(made, **changes)


def refused(step: Any, *arguments: Any) -> str:
    with pytest.raises(Problem) as problem:
        step(*arguments)
    return problem.value.code


def test_a_members_values_are_named_as_items() -> None:
    assert a_member().values() == {
        "email": "a@example.com",
        "name": "홍길동",
        "password_hash": "$argon2id$",
        "birth_date": "2000-01-02",
        "wapl.role": "member",
        "wapl.title": "책임",
    }


def test_a_sign_up_names_every_item_there_is() -> None:
    step = model.sign_up(a_member(consents=frozenset()), (OS,))
    assert step.items == {"email", "name", "password_hash", "birth_date", "wapl.role", "wapl.title"}
    assert step.member.consents == {OS}


def test_a_correction_names_only_what_differs() -> None:
    profiles = {"wapl": Profile("wapl", "admin", {"photo": "p"})}
    step = model.correct(a_member(), name="홍길동", email="b@example.com", profiles=profiles)
    assert step.items == {"email", "wapl.role", "wapl.title", "wapl.photo"}
    assert model.correct(a_member(), name="홍길동").items == frozenset()


def test_a_consent_given_again_ends_the_old_evidence() -> None:
    step = model.change_sharing(a_member(), True, frozenset({"tmax-os", "tmax-anc"}))
    assert (step.given, step.ended) == ((ANC, OS), (OS,))
    assert step.member.sharing() == {"tmax-os", "tmax-anc"}


def test_a_consent_taken_back_that_was_never_given_is_still_said() -> None:
    step = model.change_sharing(a_member(), False, frozenset({"tmax-anc"}))
    assert (step.given, step.ended) == ((), (ANC,))
    assert step.member.sharing() == {"tmax-os"}


def test_without_use_no_marketing_channel_stands() -> None:
    step = model.change_marketing(a_member(), False, frozenset({"tmax-os"}), "use")
    assert step.member.marketing() == {}
    assert set(step.ended) == {USE, EMAIL}
    assert refused(model.change_marketing, a_member(), True, frozenset({"tmax-anc"}), "sms") == "marketing_use_required"


def test_one_channel_ends_alone() -> None:
    step = model.change_marketing(a_member(), False, frozenset({"tmax-os"}), "email")
    assert step.member.marketing() == {"tmax-os": Marketing(use=True, email=False, sms=False, night=False)}


def test_a_confirmed_withdrawal_leaves_nothing_personal() -> None:
    asked = model.request_withdrawal(a_member(), AT).member
    gone = model.confirm_withdrawal(asked, AT)
    assert gone.member.values() == {}
    assert gone.member.consents == frozenset()
    assert set(gone.ended) == {OS, USE, EMAIL}
    assert (gone.member.status, gone.member.withdrawn_at) == ("withdrawn", AT)


@pytest.mark.parametrize("status", ["active", "suspended", "pending_guardian", "dormant_notified"])
def test_a_cancelled_withdrawal_returns_to_the_status_before(status: Any) -> None:
    asked = model.request_withdrawal(a_member(status=status), AT).member
    back = model.cancel_withdrawal(asked).member
    assert (back.status, back.status_before, back.withdrawal_requested_at) == (status, None, None)


@pytest.mark.parametrize("status", ["withdrawn", "erased"])
def test_nothing_changes_for_one_who_left(status: Any) -> None:
    gone = a_member(status=status)
    party = frozenset({"tmax-os"})
    assert {
        refused(model.request_withdrawal, gone, AT),
        refused(model.confirm_withdrawal, gone, AT),
        refused(model.cancel_withdrawal, gone),
        refused(model.correct, gone),
        refused(model.change_sharing, gone, False, party),
        refused(model.change_marketing, gone, False, party, "use"),
    } == {"member_withdrawn"}


@pytest.mark.parametrize("status", ["suspended", "withdrawal_requested", "pending_guardian", "dormant_notified"])
def test_only_an_active_member_gives_a_consent_and_any_may_take_one_back(status: Any) -> None:
    member, party = a_member(status=status), frozenset({"tmax-os"})
    assert refused(model.change_sharing, member, True, party) == "member_not_active"
    assert refused(model.change_marketing, member, True, party, "use") == "member_not_active"
    assert model.change_sharing(member, False, party).member.sharing() == frozenset()


def test_the_steps_of_a_withdrawal_come_in_order() -> None:
    assert refused(model.confirm_withdrawal, a_member(), AT) == "withdrawal_not_requested"
    assert refused(model.cancel_withdrawal, a_member()) == "withdrawal_not_requested"
    asked = model.request_withdrawal(a_member(), AT).member
    assert refused(model.request_withdrawal, asked, AT) == "withdrawal_already_requested"


COLLECTION = ConsentRef("collection")


def test_one_who_turned_fourteen_becomes_active_by_its_own_consent_and_shares_nothing_yet() -> None:
    child = a_member(status="pending_guardian", consents=frozenset({COLLECTION, OS, USE}))
    step = model.consent_to_collection(child, of_age=True)
    assert (step.change, step.note, step.member.status) == ("released", "came_of_age", "active")
    assert (step.given, set(step.ended)) == ((COLLECTION,), {COLLECTION, OS, USE})
    assert step.member.consents == {COLLECTION}


def test_one_still_under_fourteen_needs_its_guardian() -> None:
    child = a_member(status="pending_guardian")
    assert refused(lambda: model.consent_to_collection(child, of_age=False)) == "guardian_needed"


@pytest.mark.parametrize("of_age", [True, False])
def test_a_member_renews_the_consent_to_collection_under_a_new_notice_and_keeps_the_others(of_age: bool) -> None:
    step = model.consent_to_collection(a_member(consents=frozenset({COLLECTION, OS})), of_age=of_age)
    assert (step.change, step.given, step.ended) == ("consent_changed", (COLLECTION,), (COLLECTION,))
    assert step.member.consents == {COLLECTION, OS}


@pytest.mark.parametrize("status", ["withdrawal_requested", "suspended"])
def test_no_consent_to_collection_is_taken_while_leaving_or_suspended(status: Any) -> None:
    assert refused(lambda: model.consent_to_collection(a_member(status=status), of_age=True)) == "member_not_active"

"""Which messages a change brings, what they must say, when one goes out and when a consent is checked: by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.consent import model as members
from services.consent.messages import model
from services.consent.messages.model import Drop, Go, MessageDataError, Wait
from services.consent.messages.use import yearly_use
from services.consent.model import ConsentRef, Member, Step
from services.policy.messages import load
from services.runtime.clock import KST
from tests.support.notices import WITH_PHONE, rules_with_phone

REF = "0192f0c4-7c1e-7000-8000-5f2d9c1e0a11"
AT = datetime(2026, 11, 23, 10, tzinfo=KST)
RULES = rules_with_phone()
PUBLISHED = "2021-02-22"
CHANGE = "0192f0c4-7c1d-7000-8000-3b1f6a2c4d00"


def a_member(
    *channels: str, sender: str = "tmax-os", status: Any = "active", sharing: tuple[str, ...] = ("tmax-os",)
) -> Member:
    wished = {ConsentRef("marketing", sender, c) for c in channels}
    consents = frozenset({ConsentRef("collection"), *(ConsentRef("sharing", r) for r in sharing), *wished})
    return Member(REF, 3, status, AT, "m@example.com", "홍길동", consents=consents)


def told(before: Member | None, step: Step) -> list[tuple[str, Any, Any, Any]]:
    found = model.following(before, step, CHANGE, AT)
    return [(w.kind, w.data.get("sender"), w.data.get("wish"), w.data.get("channels")) for w in found]


def test_a_grant_a_refusal_and_a_withdrawal_each_bring_one_notice_per_company() -> None:
    both = frozenset({"tmax-os", "tmax-anc"})
    member = a_member("use")
    granted = members.change_marketing(member, True, frozenset({"tmax-os"}), "email")
    assert told(member, granted) == [("marketing_result", "tmax-os", "granted", ("email",))]
    mixed = members.change_marketing(a_member("use", "email"), False, both, "email")
    assert told(a_member("use", "email"), mixed) == [
        ("marketing_result", "tmax-anc", "refused", ("email",)),
        ("marketing_result", "tmax-os", "withdrawn", ("email",)),
    ]


def test_the_night_consent_has_its_notice_too() -> None:
    member = a_member("use", "sms")
    step = members.change_marketing(member, True, frozenset({"tmax-os"}), "night")
    assert told(member, step) == [("marketing_result", "tmax-os", "granted", ("night",))]


def test_ending_use_ends_every_channel_and_says_so_once() -> None:
    member = a_member("use", "email")
    step = members.change_marketing(member, False, frozenset({"tmax-os"}), "use")
    assert told(member, step) == [("marketing_result", "tmax-os", "withdrawn", ("email", "night", "sms", "use"))]


def test_sign_up_brings_a_notice_for_grants_only() -> None:
    given = (ConsentRef("collection"), ConsentRef("marketing", "tmax-os", "use"), ConsentRef("sharing", "tmax-anc"))
    step = members.sign_up(a_member(), given)
    assert told(None, step) == [("marketing_result", "tmax-os", "granted", ("use",))]
    assert told(None, members.sign_up(a_member(), (ConsentRef("collection"),))) == []


def test_a_minors_wish_waits_for_the_guardian() -> None:
    given = (ConsentRef("collection"), ConsentRef("marketing", "tmax-os", "use"))
    waiting = members.sign_up(a_member(status="pending_guardian"), given)
    assert told(None, waiting) == []
    confirmed = Step(replace(waiting.member, status="active"), "released", note="guardian_confirmed")
    assert told(waiting.member, confirmed) == [("marketing_result", "tmax-os", "granted", ("use",))]
    mistaken = Step(replace(waiting.member, status="active"), "released", note="birth_date_corrected")
    assert told(waiting.member, mistaken) == [("marketing_result", "tmax-os", "granted", ("use",))]
    released = Step(replace(waiting.member, status="active"), "released", note="withdrawal_request")
    assert told(waiting.member, released) == []


def test_sharing_brings_no_marketing_notice() -> None:
    member = a_member("use")
    assert told(member, members.change_sharing(member, True, frozenset({"tmax-os"}))) == []


def test_leaving_brings_the_last_message_and_tells_each_company_consented_to() -> None:
    asked = members.request_withdrawal(a_member("use", "email"), AT).member
    step = members.confirm_withdrawal(asked, AT)
    assert told(asked, step) == [
        ("marketing_result", "tmax-os", "withdrawn", ("email", "use")),
        ("withdrawal_result", None, None, None),
    ]


RESULT = {"sender": "tmax-os", "wished_on": date(2026, 11, 23), "wish": "granted", "channels": ("sms", "email")}


def checked(**changes: Any) -> dict[str, Any]:
    data = {k: v for k, v in (RESULT | changes).items() if v is not None}
    return model.checked(load(), load().kinds["marketing_result"], data)


def test_data_is_stored_in_one_form() -> None:
    expected = {"wished_on": "2026-11-23", "wish": "granted", "channels": ["email", "sms"]}
    assert checked() == expected
    late = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
    assert checked(wished_on=late) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"wished_on": None},
        {"wished_on": "23.11.2026"},
        {"wished_on": "20261123"},
        {"wish": "maybe"},
        {"channels": ()},
        {"channels": ("fax",)},
        {"channels": "email"},
        {"email": "m@example.com"},
    ],
)
def test_a_result_notice_without_its_date_or_with_what_it_does_not_know_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MessageDataError) as refused:
        checked(**changes)
    assert "example.com" not in str(refused.value)


def test_a_kind_of_each_company_needs_one_and_the_others_come_from_the_operator() -> None:
    kinds = load().kinds
    assert model.way(load(), kinds["marketing_result"], RESULT) == ("tmax-os", "email", "ko")
    assert model.way(load(), kinds["rights_answer"], {}) == ("tmax-cloud", "email", "ko")
    for wrong in ({}, {"sender": "nobody"}, {"sender": "tmax-os", "medium": "pigeon"}):
        with pytest.raises(MessageDataError):
            model.way(load(), kinds["marketing_result"], wrong)


def ruled(
    member: Member,
    at: datetime,
    medium: Any = "email",
    *,
    reconfirmed: bool = True,
    sender: str = "tmax-os",
    version: str | None = PUBLISHED,
) -> Go | Wait | Drop:
    kind, known = load().kinds["advertisement"], {"reconfirmed": reconfirmed, "notice_version": version}
    return model.ruling(RULES, kind, sender, medium, member, at, **known)


def test_a_withdrawal_a_second_before_the_sending_drops_what_was_queued() -> None:
    assert ruled(a_member("use", "email"), AT) == Go()
    assert ruled(a_member("use"), AT + timedelta(seconds=1)) == Drop("1.5-channel")
    assert ruled(a_member(), AT) == Drop("1.5-use")
    assert ruled(a_member("use", "email", sender="tmax-anc"), AT) == Drop("1.5-use")


@pytest.mark.parametrize(
    ("status", "rule"),
    [
        ("withdrawal_requested", "3.2-withdrawal-request"),
        ("withdrawn", "3.2-withdrawal-request"),
        ("suspended", "5.1-suspend"),
        ("pending_guardian", "3.2-withdrawal-request"),
    ],
)
def test_no_advertisement_goes_to_a_member_who_is_not_active(status: str, rule: str) -> None:
    assert ruled(a_member("use", "email", status=status), AT) == Drop(rule)


REQUEST = "0192f0c4-7c1d-7000-8000-3b1f6a2c4d77"


@pytest.mark.parametrize(
    ("kind", "data", "done"),
    [
        ("marketing_result", {}, [("marketing_result", "m-1", "sent")]),
        ("reconsent", {}, []),
        ("inquiry_answer", {"inquiry_id": "i-1"}, [("inquiry_answer", "i-1", "answered")]),
        (
            "rights_answer",
            {"type": "access", "outcome": "granted"},
            [("access_answer", REQUEST, "granted"), ("deferred_access", REQUEST, "granted")],
        ),
        ("rights_answer", {"type": "access", "outcome": "deferred"}, [("access_answer", REQUEST, "deferred")]),
        ("rights_answer", {"type": "correction", "outcome": "partial"}, [("correction_answer", REQUEST, "partial")]),
        ("rights_answer", {"type": "deletion", "outcome": "refused"}, [("deletion_answer", REQUEST, "refused")]),
        ("rights_answer", {"type": "suspension", "outcome": "granted"}, [("suspension_answer", REQUEST, "granted")]),
        ("rights_answer", {"type": "release", "outcome": "granted"}, []),
    ],
)
def test_a_message_that_has_gone_does_its_own_duty_or_that_of_what_it_answers(
    kind: str, data: dict[str, str], done: list[tuple[str, str, str]]
) -> None:
    ends = model.ends(load().kinds[kind], "m-1", {"request_id": REQUEST, **data})
    assert [(e.duty, e.subject, e.outcome) for e in ends] == done


def test_at_night_a_text_message_waits_for_the_morning_and_a_mail_does_not() -> None:
    member = a_member("use", "email", "sms")
    late, early = datetime(2026, 11, 23, 21, tzinfo=KST), datetime(2026, 11, 24, 7, 59, 59, tzinfo=KST)
    morning = datetime(2026, 11, 24, 8, tzinfo=KST)
    assert ruled(member, late, "sms", version=WITH_PHONE) == Wait(morning)
    assert ruled(member, early, "sms", version=WITH_PHONE) == Wait(morning)
    assert ruled(member, morning, "sms", version=WITH_PHONE) == Go()
    assert ruled(member, late) == Go()


def test_an_overdue_check_drops_an_advertisement_and_nothing_else() -> None:
    assert ruled(a_member("use", "email"), AT, reconfirmed=False) == Drop("1.5-reconfirm")
    result = load().kinds["marketing_result"]
    plain = {"reconfirmed": False, "notice_version": None}
    assert model.ruling(RULES, result, "tmax-os", "email", a_member(), AT, **plain) == Go()
    assert model.ruling(RULES, result, "tmax-os", "sms", a_member(), AT, **plain) == Go()


def test_an_affiliate_without_a_member_row_has_nobody_to_advertise_to() -> None:
    """Clause 3.2 and 1.5: refused at sign-up or revoked, whatever marketing consents live. The operator needs none."""
    assert ruled(a_member("use", "email", sharing=()), AT) == Drop("1.5-marketing")
    assert ruled(a_member("use", "email", sharing=("tmax-anc",)), AT) == Drop("1.5-marketing")
    assert ruled(a_member("use", "email", sharing=("tmax-os",)), AT) == Go()
    operators = a_member("use", "email", sender="tmax-cloud", sharing=())
    assert ruled(operators, AT, sender="tmax-cloud") == Go()


def test_a_text_message_advertises_to_a_number_only_that_the_consent_was_told_of() -> None:
    """PIPA 15(2), 18(1): the notice of 2021-02-22 tells of e-mail and name; one that tells of the number lets it go."""
    member = a_member("use", "email", "sms")
    assert ruled(member, AT, "sms") == Drop("12-scope")
    assert ruled(member, AT, "sms", version="1999-01-01") == Drop("12-scope")
    assert ruled(member, AT, "sms", version=WITH_PHONE) == Go()
    assert ruled(member, AT, "email") == Go()


def test_a_suspended_address_drops_what_would_go_to_it_and_nothing_else() -> None:
    member = a_member("use", "email")
    assert ruled(replace(member, suspended=frozenset({"email"})), AT) == Drop("5.1-suspend-part")
    assert ruled(replace(member, suspended=frozenset({"P1.5"})), AT) == Drop("5.1-suspend-part")
    assert ruled(replace(member, suspended=frozenset({"hypermeeting.phone"})), AT) == Go()


CONSENTED = datetime(2024, 11, 24, 10, tzinfo=KST)


@pytest.mark.parametrize(
    ("covered", "today", "period"),
    [
        (-1, date(2026, 10, 23), None),
        (-1, date(2026, 10, 24), 0),
        (-1, date(2026, 11, 23), 0),
        (-1, date(2026, 11, 24), 0),
        (0, date(2026, 11, 24), None),
        (0, date(2028, 10, 23), None),
        (0, date(2028, 10, 24), 1),
        (-1, date(2029, 1, 1), 1),
        (1, date(2029, 1, 1), None),
    ],
)
def test_a_consent_is_asked_about_from_a_month_before_each_second_year(
    covered: int, today: date, period: int | None
) -> None:
    assert model.period_to_ask(CONSENTED, covered, today, 30) == period


def test_the_waits_grow_to_a_day_and_stay_there() -> None:
    waits = [model.next_try(AT, tries) - AT for tries in (1, 2, 5, 6, 7, 40)]
    minutes = [wait.total_seconds() / 60 for wait in waits]
    assert minutes == [1, 5, 360, 1440, 1440, 1440]


def a_row(recipient: str, basis: str, *items: str, role: str = "recipient", in_year: bool = True) -> dict[str, Any]:
    return {
        "recipient": recipient,
        "role": role,
        "basis": basis,
        "items": dict.fromkeys(items, "c"),
        "purpose": "P1.1",
        "in_year": in_year,
    }


def test_the_yearly_notice_leaves_out_what_investigators_were_given() -> None:
    ledger = [
        a_row("tmax-cloud", "4.3-operator", "email", "name"),
        a_row("tmax-os", "3.2-share", "email"),
        a_row("demo-partner", "consent", "email", in_year=False),
        a_row("other-partner", "law", "email"),
        a_row("supreme-prosecutors", "telecom_business_act_83", "name"),
        a_row("police", "comms_secrecy_act_13_2", "ip"),
    ]
    use = yearly_use("tmax-cloud", ledger, operator=True, silent=load().silent_bases)
    assert use.items == {"email", "name"}
    assert use.recipients == {"tmax-os", "other-partner"}
    assert yearly_use("tmax-os", ledger, operator=False, silent=()).recipients == frozenset()

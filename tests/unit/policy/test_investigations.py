"""What may be given to an agency, by hand from law.md G1 to G7: table of basis, paper, item; and the periods."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.policy.duties import all_duties
from services.policy.investigations import Paper, Request, assess, bounds, end_of, half_of, has_run_out, law
from services.runtime.clock import KST

LAW = law()
AT = datetime(2026, 11, 23, 10, tzinfo=KST)
WHOLE = frozenset({"reason", "relation", "scope"})
EVERYTHING = frozenset(LAW.items)
IDENTITY = ("id", "joined_on", "left_on", "name", "phone")


def a_request(basis: str, kind: str, *items: str, **changes: object) -> Request:
    paper = Paper(
        kind=kind,  # type: ignore[arg-type]
        states=changes.pop("states", WHOLE),  # type: ignore[arg-type]
        names=changes.pop("names", EVERYTHING),  # type: ignore[arg-type]
        valid_until=changes.pop("valid_until", None),  # type: ignore[arg-type]
    )
    right = {"agency": "police", "purpose": "investigation", "received_at": AT}
    return Request(basis=basis, paper=paper, items=items, **(right | changes))  # type: ignore[arg-type]


def test_article_83_gives_the_identity_items_and_nothing_else() -> None:
    asked = sorted(EVERYTHING)
    found = assess(LAW, a_request("telecom_business_act_83", "written_request", *asked))
    assert found.allowed == IDENTITY
    assert found.refusal is None
    assert found.denied == {
        "resident_number": "not_held",
        "address": "not_held",
        "ip": "outside_statute",
        "visited_at": "outside_statute",
        "usage": "outside_statute",
        "device": "outside_statute",
        "abuse": "outside_statute",
        "profile": "outside_statute",
        "password": "never",
        "password_hash": "never",
    }


@pytest.mark.parametrize(
    ("basis", "kind", "item", "allowed", "why"),
    [
        ("telecom_business_act_83", "urgent_request", "phone", True, None),
        ("telecom_business_act_83", "written_request", "ip", False, "outside_statute"),
        ("communication_secrets_13", "court_permission", "ip", True, None),
        ("communication_secrets_13", "court_permission", "visited_at", True, None),
        ("communication_secrets_13", "court_permission", "name", False, "outside_statute"),
        ("communication_secrets_13", "written_request", "ip", False, "paper_not_accepted"),
        ("warrant", "warrant", "usage", True, None),
        ("warrant", "warrant", "password", False, "never"),
        ("warrant", "warrant", "password_hash", False, "never"),
        ("warrant", "written_request", "usage", False, "paper_not_accepted"),
        ("pipa_18_2_7", "written_request", "name", False, "no_legal_basis"),
        ("cooperation_letter", "written_request", "usage", False, "no_legal_basis"),
        ("anything_else", "warrant", "name", False, "no_legal_basis"),
        ("pipa_18_2_7", "written_request", "password", False, "never"),
    ],
)
def test_an_item_goes_only_by_a_statute_that_lists_it(
    basis: str, kind: str, item: str, allowed: bool, why: str | None
) -> None:
    found = assess(LAW, a_request(basis, kind, item))
    assert (item in found.allowed, found.denied.get(item)) == (allowed, why)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"agency": "nobody"}, "unknown_agency"),
        ({"agency": "prosecution"}, "agency_not_entitled"),  # 검찰청 until 2026-10-01
        ({"agency": "prosecution", "received_at": datetime(2026, 10, 1, 23, 59, tzinfo=KST)}, None),
        (
            {"agency": "public_prosecution", "received_at": datetime(2026, 10, 1, 14, 59, tzinfo=UTC)},
            "agency_not_entitled",
        ),
        ({"agency": "public_prosecution", "received_at": datetime(2026, 10, 1, 15, 0, tzinfo=UTC)}, None),
        ({"agency": "serious_crimes"}, None),
        ({"agency": "tax"}, None),
        ({"states": frozenset({"reason", "relation"})}, "paper_incomplete"),
        ({"states": frozenset()}, "paper_incomplete"),
        ({"valid_until": date(2026, 11, 22)}, "paper_expired"),
        ({"valid_until": date(2026, 11, 23)}, None),
    ],
)
def test_a_request_needs_an_entitled_agency_and_a_whole_paper(changes: dict[str, object], refusal: str | None) -> None:
    found = assess(LAW, a_request("telecom_business_act_83", "written_request", "name", **changes))
    assert found.refusal == refusal
    assert bool(found.allowed) == (refusal is None)


@pytest.mark.parametrize(
    ("day", "over"), [(date(2026, 11, 24), False), (date(2026, 11, 25), False), (date(2026, 11, 26), True)]
)
def test_a_paper_is_good_through_its_last_day(day: date, over: bool) -> None:
    assert has_run_out(date(2026, 11, 25), day) is over
    assert has_run_out(None, day) is False


def test_the_tax_office_gets_no_communication_records_and_a_court_needs_no_permission_of_itself() -> None:
    for agency in ("tax", "court"):
        found = assess(LAW, a_request("communication_secrets_13", "court_permission", "ip", agency=agency))
        assert found.refusal == "agency_not_entitled"


def test_the_purpose_must_be_one_of_the_statute() -> None:
    found = assess(LAW, a_request("warrant", "warrant", "name", purpose="national_security"))
    assert found.refusal == "purpose_not_covered"


def test_an_item_the_paper_does_not_name_is_denied() -> None:
    found = assess(LAW, a_request("warrant", "warrant", "name", "usage", names=frozenset({"name"})))
    assert (found.allowed, found.denied) == (("name",), {"usage": "outside_paper"})


@settings(max_examples=200, deadline=None)
@given(
    basis=st.sampled_from([*LAW.bases, *LAW.refused, "none"]),
    kind=st.sampled_from(["written_request", "urgent_request", "court_permission", "warrant"]),
    agency=st.sampled_from([*LAW.agencies, "nobody"]),
    items=st.lists(st.sampled_from(sorted(EVERYTHING)), min_size=1),
    states=st.frozensets(st.sampled_from(sorted(WHOLE))),
    names=st.frozensets(st.sampled_from(sorted(EVERYTHING))),
)
def test_every_item_is_answered_and_no_password_is_ever_allowed(
    basis: str, kind: str, agency: str, items: list[str], states: frozenset[str], names: frozenset[str]
) -> None:
    found = assess(LAW, a_request(basis, kind, *items, agency=agency, states=states, names=names))
    assert set(found.allowed) | set(found.denied) == set(items)
    assert set(found.allowed).isdisjoint(found.denied)
    assert set(found.allowed).isdisjoint({"password", "password_hash", "resident_number", "address"})
    assert set(found.allowed) <= names


def test_the_ledger_is_kept_for_seven_years() -> None:
    assert LAW.keep_until(AT) == date(2033, 11, 23)


def test_a_half_year_is_koreas_and_its_report_is_due_thirty_days_after() -> None:
    report = all_duties()["investigation_report"]
    assert half_of(datetime(2026, 12, 31, 15, 0, tzinfo=UTC)) == "2027H1"
    assert half_of(datetime(2026, 12, 31, 14, 59, tzinfo=UTC)) == "2026H2"
    assert report.due_on(end_of("2026H2")) == date(2027, 2, 1)  # Saturday 30 January moves to Monday
    assert report.due_on(end_of("2026H1")) == date(2026, 7, 30)
    assert bounds("2026H2") == (datetime(2026, 7, 1, tzinfo=KST), datetime(2027, 1, 1, tzinfo=KST))
    assert bounds("2026H1")[1] - end_of("2026H1") == timedelta(microseconds=1)


def test_the_paper_after_an_urgent_request_is_a_duty_only_officers_see() -> None:
    assert all_duties()["investigation_paper"].restricted
    assert [d.id for d in all_duties().values() if d.restricted] == ["investigation_paper"]

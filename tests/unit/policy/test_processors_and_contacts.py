"""Clause 4.3's table with its contracts, and clauses 9 to 11, as the policy of 2021-02-22 has them."""

from datetime import UTC, date, datetime
from importlib.resources import files

import pytest

from services.policy import contacts
from services.policy.model import FILES, PolicyError, load, parse
from services.policy.processors import Contract
from services.runtime.clock import KST

RULES = load()
TEXTS = {n: files("services.policy").joinpath(f"rules/{n}.toml").read_text(encoding="utf-8") for n in FILES}


def test_the_three_processors_of_clause_4_3_with_their_tasks() -> None:
    assert {p.id: [t.id for t in p.tasks] for p in RULES.processors.values()} == {
        "tmax-cloud": ["account", "support", "internal_systems", "events"],
        "tmax-os": ["hypermeeting_members", "events"],
        "tmax-anc": ["wapl_members", "events", "call_center"],
    }
    assert all([t.id for t in p.tasks if t.marketing] == ["events"] for p in RULES.processors.values())


def test_a_task_names_no_more_items_than_its_services_roles_have() -> None:
    for processor in RULES.processors.values():
        service = RULES.affiliates[processor.id].processes
        roles = RULES.services[service].roles if service else ()
        known = {i for role in roles for i in role.items} | RULES.shared
        assert {i for task in processor.tasks for i in task.items} <= known


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (datetime(2021, 2, 21, 14, 59, 59, tzinfo=UTC), False),
        (datetime(2021, 2, 21, 15, 0, tzinfo=UTC), True),
        (datetime(2031, 2, 21, 23, 59, 59, tzinfo=KST), True),
        (datetime(2031, 2, 22, tzinfo=KST), False),
    ],
)
def test_a_contract_runs_from_its_first_to_its_last_day_in_korea(at: datetime, expected: bool) -> None:
    assert RULES.contracted("tmax-os", at) is expected
    assert RULES.contracted("nobody", at) is False


def test_a_contract_without_a_last_day_runs_on() -> None:
    assert Contract(reference="X-1", since=date(2021, 2, 22)).in_force(datetime(2099, 1, 1, tzinfo=KST))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"supervision", "damages"]', '"supervision"]', "lacks a term, or names an unknown one: damages"),
        ('id = "tmax-os"', 'id = "tmax-xx"', "processor is no affiliate: tmax-xx"),
        ('items = ["email", "name", "customer_name"', 'items = ["email", "nickname"', "a task names an unknown item"),
        ("until = 2031-02-21", "until = 2020-02-21", "a contract ends before it starts"),
    ],
)
def test_a_register_that_contradicts_itself_is_not_loaded(old: str, new: str, fault: str) -> None:
    assert old in TEXTS["processors"]
    with pytest.raises(PolicyError, match=fault):
        parse(TEXTS | {"processors": TEXTS["processors"].replace(old, new, 1)})


def test_what_members_are_told_changes_with_a_marketing_task_and_with_nothing_else() -> None:
    before = {p.id: p.marketing_sha256() for p in RULES.processors.values()}
    for old, new, changed in (
        ("별도 이벤트 업무 처리", "별도 이벤트와 경품 발송", {"tmax-os"}),
        ("콜센터 운영", "콜센터 야간 운영", set()),
    ):
        rules = parse(TEXTS | {"processors": TEXTS["processors"].replace(old, new, 1)})
        after = {p.id: p.marketing_sha256() for p in rules.processors.values()}
        assert {i for i in before if before[i] != after[i]} == changed


def test_the_officer_and_the_four_remedies_are_those_published() -> None:
    published = contacts.versions()["2021-02-22"]
    officer = published.officer
    assert (officer.name, officer.email, officer.phone) == ("최용기", "security@tmax.co.kr", "031-8018-9347")
    assert [(r.clause, r.phone) for r in published.remedies] == [
        ("11.1", "118"),
        ("11.2", "1833-6972"),
        ("11.3", "1301"),
        ("11.4", "182"),
    ]
    assert [r.clause for r in published.remedies if r.note] == ["11.3", "11.4"]


def test_a_version_is_in_force_from_its_midnight_in_korea_and_the_first_before_it() -> None:
    assert contacts.current(datetime(2021, 2, 21, 15, 0, tzinfo=UTC)).version == "2021-02-22"
    assert contacts.current(datetime(2000, 1, 1, tzinfo=UTC)).version == "2021-02-22"


def test_cookies_are_never_needed_to_sign_up_and_every_inquiry_goes_to_the_officer() -> None:
    assert all(c.cookies.needed_to_sign_up is False for c in contacts.versions().values())
    assert {s.id: s.routed_to for s in contacts.subjects().values()} == {
        "privacy": "cpo",
        "complaint": "cpo",
        "remedy": "cpo",
    }


def test_a_complaint_and_a_remedy_leave_a_record_of_three_years_and_a_question_none() -> None:
    assert {s.id: s.kept_as for s in contacts.subjects().values()} == {
        "privacy": None,
        "complaint": "dispute",
        "remedy": "dispute",
    }

"""Every decision table of tests/golden, case by case, and the check that would find one that does not hold."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.policy import check
from services.policy.cases import Case, CaseError, differences, read_table
from services.policy.model import load

FOLDER = Path(__file__).parents[2] / "golden"
RULES = load()
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.toml"))}
CASES = [(name, case) for name, text in TEXTS.items() for case in read_table(text).cases]


@pytest.mark.parametrize(("rule", "case"), CASES, ids=[f"{name}: {case.name}" for name, case in CASES])
def test_a_case_of_a_decision_table_holds(rule: str, case: Case) -> None:
    assert list(differences(RULES, rule, case)) == []


def test_every_rule_has_its_table_and_every_table_its_rule() -> None:
    assert set(TEXTS) == set(RULES.rules)
    assert list(check.faults(RULES, TEXTS)) == []


def test_a_rule_without_a_case_is_found() -> None:
    fewer = {name: text for name, text in TEXTS.items() if name != "5.7-notify"}
    assert list(check.faults(RULES, fewer)) == ["rule without a decision table: 5.7-notify"]


def test_a_table_of_a_rule_that_is_gone_is_found() -> None:
    fewer = replace(RULES, rules={k: v for k, v in RULES.rules.items() if k != "4.3-end"})
    assert "decision table of no rule: 4.3-end" in list(check.faults(fewer, TEXTS))


def test_a_case_that_expects_something_else_is_found() -> None:
    wrong = TEXTS["4.3-end"].replace('roles = ["processor"]', 'roles = ["recipient"]')
    found = list(check.faults(RULES, TEXTS | {"4.3-end": wrong}))
    assert len(found) == 1
    assert "tmax-os: expected" in found[0]


def test_a_recipient_that_a_case_forgets_is_found() -> None:
    text = """
        rule = "3.2-share"
        [[case]]
        name = "forgets the operator"
        given = { sharing = ["tmax-os"] }
        when = { change = "signed_up" }
        [case.then.tmax-os]
        does = "projection"
        roles = ["recipient"]
    """
    (found,) = differences(RULES, "3.2-share", read_table(text).cases[0])
    assert found.startswith("tmax-cloud: expected does=nothing, got does=projection")


def test_a_case_that_has_nothing_to_do_with_its_rule_is_found() -> None:
    (case, *_) = read_table(TEXTS["4.3-end"]).cases
    assert list(differences(RULES, "5.7-notify", case)) == ["no outcome is because of 5.7-notify"]


@pytest.mark.parametrize(
    "text",
    ["rule = ", 'rule = "x"\ncase = []', 'rule = "x"\n[[case]]\nname = "n"\nwhen = { change = "renamed" }'],
    ids=["not TOML", "no case", "an unknown change"],
)
def test_a_table_that_cannot_be_read_says_so(text: str) -> None:
    with pytest.raises(CaseError):
        read_table(text)
    assert any(f.startswith("3.2-share: ") for f in check.faults(RULES, TEXTS | {"3.2-share": text}))

"""Every decision table of tests/golden/decisions, and that each rule an answer can name has one."""

import pytest

from services.consent.decisions import model
from services.policy import questions
from tests.support.notices import rules_with_phone
from tests.unit.consent.decision_tables import FOLDER, DecisionTable, Line, read

RULES = rules_with_phone()
"""The policy in use, and a notice version of the tests' own that no case can cite by mistake."""
TABLES: dict[str, DecisionTable] = {path.stem: read(path) for path in sorted(FOLDER.glob("*.toml"))}
LINES = [(name, line) for name, table in TABLES.items() for line in table.cases]


@pytest.mark.parametrize(("rule", "line"), LINES, ids=[f"{name}: {line.name}" for name, line in LINES])
def test_a_case_of_a_decision_table_holds(rule: str, line: Line) -> None:
    found = model.answer(RULES, line.given.history(), line.ask.question())
    assert (found.allowed, found.rule) == (line.then.allowed, line.then.rule)
    if line.then.evidence is not None:
        assert tuple(e["kind"] for e in found.evidence) == line.then.evidence


def test_every_rule_an_answer_can_name_has_a_table_that_names_it() -> None:
    assert set(TABLES) == questions.NAMED
    for name, table in TABLES.items():
        assert table.rule == name
        assert name in {line.then.rule for line in table.cases}


def test_every_rule_an_answer_can_name_cites_a_clause_and_a_statute() -> None:
    for name in questions.NAMED:
        rule = questions.rule_of(RULES, name)
        assert rule.clause
        assert rule.statute
        assert rule.ko != rule.en
    with pytest.raises(KeyError):
        questions.rule_of(RULES, "9.9-other")

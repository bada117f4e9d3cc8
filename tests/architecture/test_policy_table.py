"""The table "Clause by clause" of docs/policy.md: every clause, rule and duty is in it, and every name in it exists."""

import re
from pathlib import Path

from services.policy import duties, marketing, questions
from services.policy.model import load

ROOT = Path(__file__).resolve().parents[2]
CLAUSES = {str(n) for n in range(1, 13)}
CODED = re.compile(r"`([^`]+)`")


def rows() -> list[list[str]]:
    """Return the cells of each row: clause, rules and duties, code, tests, what is not executed."""
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    section = page.split("## Clause by clause\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(column: int) -> set[str]:
    return {name for row in rows() for name in CODED.findall(row[column])}


def test_every_clause_has_its_row() -> None:
    assert {row[0].partition(" ")[0].partition(".")[0] for row in rows()} == CLAUSES
    assert all(len(row) == 5 for row in rows())


def test_every_rule_and_duty_is_in_the_table_and_no_other() -> None:
    rules = {*load().rules, *questions.question_rules(), *marketing.advertising().rules}
    assert named(1) == rules | set(duties.all_duties())


def test_code_and_tests_of_the_table_exist() -> None:
    assert [n for n in sorted(named(2)) if not (ROOT / "services" / n).exists()] == []
    assert [n for n in sorted(named(3)) if not (ROOT / "tests" / n).exists()] == []

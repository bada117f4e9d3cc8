"""How much of the policy is rules, and how much of each rule is proved by hand: counted, per clause."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.policy import marketing, questions
from services.policy.duties import all_duties
from services.policy.model import Rules
from services.policy.shapes import Rule


@dataclass(frozen=True)
class Figure:
    """One clause: its rules, their cases by who is told what and by who may use what, and its clocks."""

    clause: str
    rules: tuple[str, ...]
    cases: int
    decision_cases: int
    duties: tuple[str, ...]


def per_clause(rules: Rules, tables: Mapping[str, str], decisions: Mapping[str, str]) -> list[Figure]:
    """Count by clause, in the policy's order; a rule may be of two. `tables` and `decisions` are TOML by rule id."""
    every = {**rules.rules, **questions.question_rules(), **marketing.advertising().rules}
    by_clause: dict[str, list[Rule]] = {}
    for rule in every.values():
        for clause in rule.clause:
            by_clause.setdefault(clause, []).append(rule)
    clocks: dict[str, list[str]] = {}
    for duty in all_duties().values():
        clocks.setdefault(duty.clause, []).append(duty.id)
    return [
        Figure(
            clause,
            tuple(sorted(rule.id for rule in by_clause.get(clause, []))),
            _cases(tables, by_clause.get(clause, [])),
            _cases(decisions, by_clause.get(clause, [])),
            tuple(sorted(clocks.get(clause, []))),
        )
        for clause in sorted({*by_clause, *clocks}, key=lambda c: [int(part) for part in c.split(".")])
    ]


def totals(rules: Rules, tables: Mapping[str, str], decisions: Mapping[str, str]) -> Mapping[str, int]:
    """Return the figures of the whole policy: a case counts once, whatever its rule's clauses."""
    named = {*rules.rules, *questions.question_rules(), *marketing.advertising().rules}
    return {
        "rules": len(named),
        "duties": len(all_duties()),
        "cases": sum(map(_count, tables.values())),
        "decision_cases": sum(map(_count, decisions.values())),
    }


def _cases(tables: Mapping[str, str], rules: Iterable[Rule]) -> int:
    return sum(_count(tables[rule.id]) for rule in rules if rule.id in tables)


def _count(text: str) -> int:
    return len(tomllib.loads(text).get("case", ()))

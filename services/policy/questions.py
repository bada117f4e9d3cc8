"""The rules an answer to `GET /v1/decisions` can name: those of `decide`, of advertising, and of questions alone."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from schemas.base import Shape
from services.policy import ids, marketing
from services.policy.model import Rules
from services.policy.shapes import Rule

NEVER: Final = "6.2-never"
SCOPE: Final = "12-scope"
CORPORATE: Final = "1.3-corporate"
DISCLOSED: Final = "3.1-disclosed"
QUESTIONS: Final = frozenset({NEVER, SCOPE, CORPORATE, DISCLOSED})
NAMED: Final = QUESTIONS | {
    *(ids.OPERATOR, ids.SHARE, ids.PROCESS, ids.CONTRACT, ids.ITEMS, ids.CONSENT, ids.REVOKE, ids.MARKETING),
    *(ids.WITHDRAWAL_REQUEST, ids.WITHDRAWN, ids.SUSPEND, ids.SUSPEND_PART, ids.ERASE, ids.GUARDIAN),
    *marketing.RULE_IDS,
}
"""Every rule an answer can name. Each has a table in tests/golden/decisions."""


class _Data(Shape):
    rule: tuple[Rule, ...]


@cache
def question_rules() -> Mapping[str, Rule]:
    """Return the rules of `rules/questions.toml`; ValueError when it and this module name different ones."""
    text = files("services.policy").joinpath("rules/questions.toml").read_text(encoding="utf-8")
    found = {rule.id: rule for rule in _Data.model_validate(tomllib.loads(text)).rule}
    if found.keys() != QUESTIONS:
        raise ValueError("rules/questions.toml and services/policy/questions.py name different rules")
    return found


def rule_of(rules: Rules, rule_id: str) -> Rule:
    """Return the rule of an id that an answer names, wherever it is kept. KeyError for another id."""
    return {**question_rules(), **marketing.advertising().rules, **rules.rules}[rule_id]

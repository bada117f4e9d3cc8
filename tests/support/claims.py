"""The 36 reliability claims and the tests that show them: `python -m tests.support.claims` writes their page.

A test says what it shows by `@pytest.mark.f(2)`; `tests/faults/claims.toml` says what each number claims and at which
scale. Read from the source, so that neither pytest nor a server is needed.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
CLAIMS = TESTS / "faults" / "claims.toml"
PAGE = ROOT / "docs" / "reliability-tests.md"
NUMBERS = range(1, 37)
HEAD = """# What is shown, and by which test

Written by `python -m tests.support.claims` from `tests/faults/claims.toml` and the markers `@pytest.mark.f(number)`;
an architecture test holds it against both. *short*: in `make test`; *long*: in `make test-long`. What the chaos
harness measured is in [reliability.md](reliability.md).
"""


@dataclass(frozen=True)
class Shown:
    """One test that shows a claim."""

    number: int
    path: str
    name: str
    long: bool


def claims() -> dict[int, dict[str, Any]]:
    """Return by number: `title`, `claim`, `scale`, and `not_here` where no test of this repository can show it."""
    found = tomllib.loads(CLAIMS.read_text(encoding="utf-8"))["f"]
    return {int(number): told for number, told in found.items()}


@cache
def shown() -> list[Shown]:
    """Return every marked test, by number, path and place in its file."""
    found = [one for path in sorted(TESTS.rglob("test_*.py")) for one in _marked(path)]
    return sorted(found, key=lambda one: one.number)


def _marked(path: Path) -> Iterator[Shown]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    all_long = any(_is_pytestmark(node) and _is_long(node) for node in tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            long = all_long or any(_is_long(d) for d in node.decorator_list)
            for number in _numbers(node.decorator_list):
                yield Shown(number, str(path.relative_to(ROOT)), node.name, long)


def _is_pytestmark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["pytestmark"]


def _is_long(node: ast.AST) -> bool:
    return "pytest.mark.long" in ast.unparse(node)


def _numbers(decorators: list[ast.expr]) -> Iterator[int]:
    for decorator in decorators:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.f":
            yield from (ast.literal_eval(argument) for argument in decorator.args)


def page() -> str:
    """Return docs/reliability-tests.md as it should be."""
    tests, parts = shown(), [HEAD]
    for number, told in sorted(claims().items()):
        parts.append(f"## F{number} {told['title']}\n")
        parts.append(f"{told['claim'].strip()}\n")
        parts.append(f"Scale: {told['scale'].strip()}\n")
        if "not_here" in told:
            parts.append(f"Not shown here: {told['not_here'].strip()}\n")
        lines = [_line(one) for one in tests if one.number == number]
        parts.append("\n".join(lines) + "\n" if lines else "")
    return "\n".join(part for part in parts if part)


def _line(one: Shown) -> str:
    return f"- {'long' if one.long else 'short'}: `{one.path}` `{one.name}`"


def main() -> int:
    """Write the page; with `--check` only say whether it is right (status 1 when not)."""
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""docs/threat-model.md names tests that exist, and leaves no letter of STRIDE out for any flow."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "threat-model.md"
FLOW = re.compile(r"^## (\d+\. .*)$")
ROW = re.compile(r"^\| ([STRIDE]) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$")
NAMED = re.compile(r"`(tests/[^`]+)`")


def rows() -> Iterator[tuple[str, str, str, str]]:
    """Yield (flow, letter, threat, what it is held by)."""
    flow = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if found := FLOW.match(line):
            flow = found[1]
        if row := ROW.match(line):
            yield flow, row[1], row[2].strip(), row[4]


ROWS = list(rows())


def is_there(named: str) -> bool:
    """Say whether a file, or a test function in it, exists."""
    name, _, function = named.partition("::")
    path = ROOT / name
    if not path.is_file():
        return False
    return not function or bool(re.search(rf"^(async )?def {re.escape(function)}\(", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("flow", dict.fromkeys(flow for flow, *_ in ROWS))
def test_each_flow_has_every_letter(flow: str) -> None:
    assert {letter for name, letter, *_ in ROWS if name == flow} == set("STRIDE")


def test_each_threat_is_held_by_tests_that_exist() -> None:
    assert len(ROWS) > 60
    assert [threat for _, _, threat, held in ROWS if not NAMED.findall(held)] == []
    named = [name for *_, held in ROWS for name in NAMED.findall(held)]
    assert [name for name in named if not is_there(name)] == []


def test_every_table_line_of_the_page_is_understood() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    heads = [line for line in lines if line.startswith(("| | threat", "|---"))]
    assert len(lines) - len(heads) == len(ROWS)


def test_other_pages_name_tests_that_exist_too() -> None:
    pages = (ROOT / "docs" / "wire.md", ROOT / "SECURITY.md", ROOT / "README.md")
    named = {path.name: NAMED.findall(path.read_text(encoding="utf-8")) for path in pages}
    assert len(named["wire.md"]) > 5
    missing = [n for found in named.values() for n in found if not is_there(n) and not (ROOT / n).is_dir()]
    assert missing == []


def test_a_test_that_is_not_there_is_missed() -> None:
    assert not is_there("tests/unit/runtime/test_nothing.py")
    assert not is_there("tests/architecture/test_threat_model.py::test_nothing")
    assert is_there("tests/architecture/test_threat_model.py::test_a_test_that_is_not_there_is_missed")

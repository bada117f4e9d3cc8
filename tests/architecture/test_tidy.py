"""The house rules that a machine can hold: sizes, banned words, nothing at import, every setting documented."""

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.runtime.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schemas", "services")
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
# The ratchet: what the tree had when these were last lowered. Lower them when you can; never raise them.
FUNCTION_LINES_MEDIAN = 8
FUNCTION_LINES_P90 = 24
MODULE_LINES_MEDIAN = 130
BANNED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MACHINE_PATHS = re.compile(r"/work/(main|shared)|/root/|/home/[a-z]")


def modules() -> list[Path]:
    return sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (name, lines without the docstring) of every function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            yield node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_says_why_it_exists_and_stays_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "a module starts with why it exists"
    assert len(text.splitlines()) <= MODULE_LINES_MAX
    too_long = [(name, lines) for name, lines in functions(path) if lines > FUNCTION_LINES_MAX]
    assert not too_long


def test_sizes_do_not_creep_up() -> None:
    lines = sorted(n for path in modules() for _, n in functions(path))
    files = [len(path.read_text(encoding="utf-8").splitlines()) for path in modules() if path.name != "__init__.py"]
    assert statistics.median(lines) <= FUNCTION_LINES_MEDIAN
    assert lines[int(len(lines) * 0.9)] <= FUNCTION_LINES_P90
    assert statistics.median(files) <= MODULE_LINES_MEDIAN


def tracked_texts() -> Iterator[Path]:
    for pattern in ("schemas/**/*", "services/**/*", "tests/**/*", "benchmarks/**/*", "infra/**/*", "docs/**/*", "*"):
        for path in ROOT.glob(pattern):
            if path.is_file() and path.suffix in {".py", ".md", ".toml", ".sql", ".yml", ".json", ".lock", ""}:
                yield path


def test_nothing_is_left_for_later_and_no_machine_shows() -> None:
    for path in tracked_texts():
        if path != Path(__file__):
            text = _text(path)
            found = [m.group() for m in [*BANNED.finditer(text), *MACHINE_PATHS.finditer(text)]]
            assert not found, path.relative_to(ROOT)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def test_lock_files_name_no_host() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        assert "--hash=sha256:" in text


def test_every_setting_is_documented() -> None:
    told = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    missing = [name for name in Settings.model_fields if f"`DONGUI_{name.upper()}`" not in told]
    assert not missing


def test_every_package_is_on_the_map() -> None:
    told = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = sorted({f"services/{p.parent.name}/" for p in (ROOT / "services").glob("*/__init__.py")})
    assert [p for p in packages if p not in told] == []


def test_every_stage_and_word_of_the_contract_is_in_the_glossary() -> None:
    told = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    stages = ("accepted", "relayed", "applied", "sealed", "superseded", "skipped_destroyed", "refused", "late")
    assert [stage for stage in stages if f"`{stage}`" not in told] == []


@pytest.mark.f(4)
def test_no_auto_ack_and_no_take_outside_the_one_place_that_acks() -> None:
    """Faust loses events through `take`, `async with event` and auto-acked streams (notes in docs/decisions/0004)."""
    for path in (ROOT / "services").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.parts[-2:] == ("propagator", "agents.py"):
            assert ".noack()" in text
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in {"noack", "noack_take", "take_events"}, path

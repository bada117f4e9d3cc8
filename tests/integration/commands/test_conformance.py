"""The conformance kit: the reference backend passes every case, and a backend that breaks a rule is caught."""

import sys
from pathlib import Path

import pytest

from services.commands.conformance import OPTIONS, REFERENCE, check
from services.propagator.conformance.cases import MAKERS
from services.runtime.settings import Settings
from tests.support.servers import Servers


@pytest.fixture
def settings(stack: Servers, tmp_path: Path) -> Settings:
    return Settings(profile="dev", kafka=stack.bootstrap, data_dir=tmp_path)


def broken(folder: Path, rule: str, instead: str) -> str:
    """Return the command of the reference backend with one rule taken out."""
    text = REFERENCE.read_text(encoding="utf-8")
    assert rule in text
    (folder / "backend.py").write_text(text.replace(rule, instead), encoding="utf-8")
    return f"{sys.executable} {folder / 'backend.py'} {OPTIONS}"


@pytest.mark.long
async def test_the_reference_backend_passes_every_case(settings: Settings) -> None:
    found = await check(settings, None, seed=1)
    assert {v.name for v in found} == set(MAKERS)
    assert [v for v in found if v.faults] == []


@pytest.mark.long
async def test_a_backend_without_the_sequence_rule_is_caught(settings: Settings, tmp_path: Path) -> None:
    command = broken(tmp_path, "WHERE excluded.seq > cell.seq", "")
    failed = {v.name for v in await check(settings, command, seed=1) if v.faults}
    assert "the newest state wins in any order" in failed
    assert "a stop that comes before its state" in failed
    assert "duplicates change nothing" not in failed

"""Values to look for come from a file: one that holds none must not pass for a search that found nothing."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services import cli
from services.commands import erasure
from services.commands.scan_places import Report
from services.runtime.settings import Settings

ARGUMENTS = ("erasure", "scan", "--no-residue", "--canaries")


@pytest.fixture(autouse=True)
def searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The values that would have been looked for."""
    monkeypatch.setenv("DONGUI_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DONGUI_OWNER_DSNS", '{"consent":"postgresql://x@127.0.0.1:1/x"}')
    found: list[list[str]] = []

    def search(_: Settings, values: list[str], *__: object) -> Report:
        found.append(values)
        return Report()

    monkeypatch.setattr(erasure, "_searched", search)
    return found


@pytest.mark.parametrize("content", ["", "\n", " \n\t\n\r\n", "\ufeff\n"])
def test_a_file_without_a_value_is_no_all_clear(searched: list[list[str]], tmp_path: Path, content: str) -> None:
    file = tmp_path / "canaries.txt"
    file.write_text(content, encoding="utf-8")
    done = CliRunner().invoke(cli.build(ARGUMENTS), [*ARGUMENTS, str(file)])
    assert (done.exit_code, done.stdout, searched) == (2, "", [])
    assert "holds no value to look for" in done.stderr


def test_a_byte_order_mark_is_no_part_of_the_first_value(searched: list[list[str]], tmp_path: Path) -> None:
    file = tmp_path / "canaries.txt"
    file.write_bytes(b"\xef\xbb\xbfcanary-one-7x@example.kr\r\n\r\ncanary two\r\n")
    assert CliRunner().invoke(cli.build(ARGUMENTS), [*ARGUMENTS, str(file)]).exit_code == 0
    assert searched == [["canary-one-7x@example.kr", "canary two"]]

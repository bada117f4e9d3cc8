"""`dongui member import` before anything is sent: what it refuses to read, and what it never writes over."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services import cli


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A service that answers nobody: a test that sends a row ends with status 1."""
    monkeypatch.setenv("DONGUI_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DONGUI_CONSENT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("DONGUI_SERVICE_TOKEN", "token")


def imported(file: Path, *options: str) -> Result:
    arguments = ["member", "import", str(file), *options]
    return CliRunner().invoke(cli.build(arguments), arguments)


def test_a_header_that_contradicts_itself_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "members.csv"
    file.write_text("email,consents.sharing.tmax-os,consents.sharing\nhong@example.com,n,y\n", encoding="utf-8")
    done = imported(file)
    assert done.exit_code == 2
    assert "columns 2 and 3 of its header name the same field" in done.stderr
    assert "nothing was sent" in done.stderr

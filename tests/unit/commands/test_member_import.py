"""`dongui member import` before anything is sent: what it refuses to read, and what it never writes over."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services import cli
from services.commands import member_import


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
    assert names(tmp_path) == ["members.csv"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("named", ["members.ndjson", "./members.ndjson", "link.ndjson", "copy.ndjson"])
def test_the_rows_are_never_the_place_for_their_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "members.ndjson"
    file.write_bytes(b"{broken\n")
    (tmp_path / "link.ndjson").symlink_to(file)
    (tmp_path / "copy.ndjson").hardlink_to(file)
    done = imported(file, "--errors", named)
    assert done.exit_code == 2
    assert "is the file to import" in done.stderr
    assert file.read_bytes() == b"{broken\n"


def test_what_is_no_regular_file_is_no_error_file(tmp_path: Path) -> None:
    file = tmp_path / "members.ndjson"
    file.write_bytes(b"{broken\n")
    (tmp_path / "null").symlink_to("/dev/null")
    for named in (tmp_path, tmp_path / "null"):
        assert imported(file, "--errors", str(named)).exit_code == 2


def test_a_file_that_was_named_is_replaced_by_errors_and_otherwise_left_alone(tmp_path: Path) -> None:
    file, notes = tmp_path / "members.ndjson", tmp_path / "notes.txt"
    file.write_bytes(b"\n")
    notes.write_text("mine")
    assert imported(file, "--errors", str(notes)).exit_code == 0
    assert notes.read_text() == "mine"
    file.write_bytes(b"{broken\n")
    assert imported(file, "--errors", str(notes)).exit_code == 4
    assert '"row":1,"pointer":"","code":"bad_json"' in notes.read_text()
    assert names(tmp_path) == ["members.ndjson", "notes.txt"]


def test_the_default_error_file_of_an_earlier_run_goes_when_no_row_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "members.ndjson"
    file.write_bytes(b"{broken\n")
    assert imported(file).exit_code == 4
    assert names(tmp_path) == ["members.ndjson", "members.ndjson.errors.ndjson"]
    file.write_bytes(b"\n")
    assert imported(file).exit_code == 0
    assert names(tmp_path) == ["members.ndjson"]


def test_a_run_that_stops_leaves_the_reasons_it_has_and_no_part_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member_import, "ATTEMPTS", 1)
    file = tmp_path / "members.ndjson"
    file.write_bytes(b'{broken\n{"email":"hong@example.com"}\n')
    assert imported(file).exit_code == 1
    assert names(tmp_path) == ["members.ndjson", "members.ndjson.errors.ndjson"]
    assert "bad_json" in (tmp_path / "members.ndjson.errors.ndjson").read_text(encoding="utf-8")

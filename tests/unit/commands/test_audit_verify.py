"""`dongui audit verify`: offline, from files alone; its exit status and what it says."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.audit import certificate, sheet
from services.commands import audit
from tests.unit.audit.test_certificate import KEY as CERTIFICATE_KEY
from tests.unit.audit.test_certificate import WITNESS, proof
from tests.unit.audit.test_verify import KEY, bodies, entry, log_of, note, written


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DONGUI_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DONGUI_AUDIT_URL", "http://127.0.0.1:9")
    (tmp_path / "key").write_text(KEY.vkey() + "\n")
    (tmp_path / "witness").write_text(WITNESS.vkey() + "\n")


def verify(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(audit.app, ["verify", *arguments, "--vkey", str(tmp_path / "key")])
    return done.exit_code, done.output


def kept_elsewhere(tmp_path: Path, texts: Sequence[str]) -> Path:
    """A folder as a place outside keeps it: the note and the leaves' hashes."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "12.txt").write_text(note(list(texts), 12))
    hashes = [bytes.fromhex(_leaf(text)) for text in texts]
    (folder / "7.leaves").write_bytes(b"".join(hashes[:7]))
    (folder / "12.leaves").write_bytes(b"".join(hashes[7:]))
    return folder / "12.txt"


def _leaf(text: str) -> str:
    return hashlib.sha256(b"\x00" + text.encode()).hexdigest()


def test_a_good_export_is_verified(tmp_path: Path) -> None:
    file = written(tmp_path / "log", log_of(bodies()))
    code, told = verify(tmp_path, str(file), "--checkpoint", str(kept_elsewhere(tmp_path, bodies())))
    assert (code, told) == (0, "verified: 12 entries, tree size 12\n")


def test_a_rewritten_export_is_refused_and_the_first_bad_entry_is_named(tmp_path: Path) -> None:
    texts = bodies()
    texts[5] = '{"n":"other"}'
    lines = [log_of(bodies())[0], *(entry(n, text) for n, text in enumerate(texts))]
    file = written(tmp_path / "log", lines)
    outside = kept_elsewhere(tmp_path, bodies())
    code, told = verify(tmp_path, str(file), "--checkpoint", str(outside))
    assert code == 3
    assert told.startswith("NOT VERIFIED, first bad index: 5\n")
    code, told = verify(tmp_path, str(file), "--checkpoint", str(outside.parent), "--format", "json")
    assert (code, json.loads(told)["first_bad_index"]) == (3, 5)


def test_leaf_hashes_that_no_checkpoint_vouches_for_are_not_believed(tmp_path: Path) -> None:
    file = written(tmp_path / "log", log_of(bodies()))
    outside = kept_elsewhere(tmp_path, bodies())
    (outside.parent / "7.leaves").write_bytes(bytes(7 * 32))
    assert verify(tmp_path, str(file), "--checkpoint", str(outside))[0] == 0


@pytest.mark.parametrize("form", ["tlog-proof", "html"])
def test_a_proof_and_a_certificate_are_verified_with_the_witness(form: str, tmp_path: Path) -> None:
    assert CERTIFICATE_KEY == KEY
    file = tmp_path / "file"
    file.write_text(proof() if form == "tlog-proof" else certificate.page(proof()))
    code, told = verify(tmp_path, str(file), "--witness", str(tmp_path / "witness"))
    assert code == 0
    assert "cosigned by witness.example/w1" in told
    file.write_text(file.read_text().replace("index 5", "index 6"))
    assert verify(tmp_path, str(file), "--witness", str(tmp_path / "witness"))[0] == 3


def test_a_service_that_is_away_is_said_and_is_no_verification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DONGUI_SERVICE_TOKEN", "x")
    code, told = verify(tmp_path)
    assert code == 1
    assert "does not answer" in told


@pytest.mark.parametrize("option", ["--checkpoint", "--witness"])
def test_a_file_that_is_not_there_is_named(option: str, tmp_path: Path) -> None:
    file = written(tmp_path / "log", log_of(bodies()))
    code, told = verify(tmp_path, str(file), option, str(tmp_path / "absent"))
    assert code == 1
    assert "absent" in told


DEEP = "[" * 100_000
EXPORT = '{"kind": "export", "version": 1, "origin": "dongui.kr/audit"}\n'
SELECTED = '{"kind": "selection", "version": 1, "checkpoint": "none"}\n'
MADE_UP = {
    "deep": DEEP,
    "a deep line": f"{EXPORT}{DEEP}\n",
    "a deep line of a selection": f"{SELECTED}{DEEP}\n",
    "an index without end": EXPORT + '{"kind": "entry", "index": 1e400, "leaf_hash": "", "body": ""}\n',
    "a selected index without end": SELECTED + '{"kind": "entry", "index": 1e400, "path": [], "body": ""}\n',
    "a cell of 200 kB": f"{sheet.head()}1,{'x' * 200_000}\r\n",
    "no object": "7\n",
    "nothing": "",
}


@pytest.mark.parametrize("content", MADE_UP.values(), ids=MADE_UP)
def test_whatever_is_made_up_gets_its_verdict(content: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(content, encoding="utf-8")
    code, told = verify(tmp_path, str(tmp_path / "file"))
    assert code == 3, told
    assert told.startswith("NOT VERIFIED")


@pytest.mark.parametrize("command", [["query"], ["export"], ["certificate", "1", "--output", "x.html"]])
@pytest.mark.parametrize("reason", ["민원", "for Mr Hong"])
def test_a_reason_that_is_no_code_is_refused_before_anything_is_asked(
    command: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DONGUI_SERVICE_TOKEN", "x")
    done = CliRunner().invoke(audit.app, [*command, "--reason", reason])
    assert done.exit_code == 2, done.output
    assert "a code or a file number" in done.output.replace("│", " ")
    assert "Hong" not in done.output

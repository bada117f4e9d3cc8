"""A certificate verified offline: it holds as issued, and with anything in it exchanged it does not."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from typer.testing import CliRunner

from services import cli
from services.audit import tree
from services.audit.checkpoint import Checkpoint, Verifier, sign, verifier_of
from services.commands.certificate_check import findings, unchecked
from services.consent.erasure import certificate
from services.consent.erasure.certificate import Signer
from tests.unit.consent.test_destruction_certificate import ROW, certified

SEED, OTHER_SEED = bytes(range(32)), bytes(range(1, 33))
LOG = "log.example/1"
KEYS = Signer(SEED).jwks()


def verifier() -> Verifier:
    return verifier_of(LOG, OTHER_SEED)


def proof_of(data: dict[str, Any]) -> str:
    """A log of two leaves, hashed by hand, of which the first is what is proved."""
    body = rfc8785.dumps({"data": data, "envelope": {}, "source": {}})
    other = hashlib.sha256(b"\x00other").digest()
    root = hashlib.sha256(b"\x01" + tree.leaf_hash(body) + other).digest()
    answer = {
        "index": 0,
        "body_base64": base64.b64encode(body).decode(),
        "path": [base64.b64encode(other).decode()],
        "checkpoint": sign(Checkpoint(LOG, 2, root), OTHER_SEED),
    }
    return certificate.tlog_proof(answer)


def issued(**changes: Any) -> dict[str, Any]:
    told = certified()
    fact = {"change": "erased", "member_ref": told["member_ref"], "change_id": told["fact"]["change_id"], "seq": 4}
    return {"certificate": told, "jws": Signer(SEED).sign(told), "proof": proof_of(fact)} | changes


def test_as_issued_it_holds() -> None:
    assert findings(issued(), KEYS, verifier()) == []


def test_a_certificate_without_its_proof_yet_says_so() -> None:
    assert findings(issued(proof=None), KEYS, verifier()) == ["proof_missing"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"certificate": certified(forced=True)}, "certificate_changed"),
        ({"jws": Signer(OTHER_SEED).sign(certified())}, "bad_signature"),
        ({"jws": "a.b"}, "bad_signature"),
        (
            {"proof": proof_of({"change": "erased", "member_ref": "x", "change_id": "y", "seq": 4})},
            "proof_of_another_fact",
        ),
        ({"proof": "nonsense"}, "bad_proof_file"),
        ({"certificate": []}, "bad_certificate_file"),
    ],
)
def test_what_was_exchanged_is_named(changes: dict[str, Any], code: str) -> None:
    assert findings(issued(**changes), KEYS, verifier()) == [code]


FACT = {"change": "erased", "change_id": ROW["change_id"], "member_ref": ROW["member_ref"], "seq": 4}
ENTRY = {
    "member_ref": ROW["member_ref"],
    "kind": "erasure",
    "subject": ROW["erasure_id"],
    "state": "erased",
    "at": "2026-11-24T01:00:05.250000Z",
    "codes": {"class": "withdrawal", "outcome": "destroyed", "retained": "yes"},
}


def borne_out(**row: Any) -> dict[str, Any]:
    told = certified(**row)
    proofs = {"proof": proof_of(FACT | {"addressees": [{"id": "tmax-cloud"}]}), "entry": proof_of(ENTRY)}
    return {"certificate": told, "jws": Signer(SEED).sign(told), **proofs}


def test_what_the_register_says_is_held_against_it() -> None:
    assert (findings(borne_out(), KEYS, verifier()), unchecked(borne_out())) == ([], [])
    assert unchecked(issued()) == ["destroyed_at", "class", "forced", "statutory_records_owed", "recipients"]


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        ({"shredded_at": ROW["started_at"]}, "destroyed_at_differs"),
        ({"forced": True}, "forced_differs"),
        ({"records_owed": 1}, "statutory_records_owed_differs"),
        ({"recipients": [{"id": "tmax-cloud", "stage": "late"}]}, "recipients_differs"),
        ({"recipients": []}, "recipients_differs"),
    ],
)
def test_its_own_signer_cannot_say_otherwise(lie: dict[str, Any], code: str) -> None:
    assert findings(borne_out(**lie), KEYS, verifier()) == [code]


@pytest.mark.parametrize("entry", ["nonsense", 7])
def test_an_entry_that_is_no_proof_is_told(entry: Any) -> None:
    assert findings(borne_out() | {"entry": entry}, KEYS, verifier()) in (["bad_proof_file"], ["bad_certificate_file"])


def test_the_log_of_somebody_else_proves_nothing() -> None:
    assert findings(issued(), KEYS, verifier_of(LOG, SEED)) != []


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({}, 0, "not borne out by the log: destroyed_at"),
        ({"proof": None}, 4, "proof_missing"),
        ({"jws": "a.b.c"}, 3, "bad_signature"),
    ],
)
def test_the_command_says_it_by_its_status(tmp_path: Path, changes: dict[str, Any], status: int, words: str) -> None:
    (tmp_path / "certificate.json").write_text(json.dumps(issued(**changes)), encoding="utf-8")
    (tmp_path / "keys.json").write_text(json.dumps(KEYS), encoding="utf-8")
    (tmp_path / "audit.vkey").write_text(verifier().vkey(), encoding="utf-8")
    arguments = ["erasure", "verify", str(tmp_path / "certificate.json"), "--keys", str(tmp_path / "keys.json")]
    arguments += ["--vkey", str(tmp_path / "audit.vkey")]
    done = CliRunner().invoke(cli.build(arguments), arguments)
    assert (done.exit_code, words in done.stdout) == (status, True), done.output


def test_a_file_that_is_none_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{", encoding="utf-8")
    arguments = ["erasure", "verify", str(tmp_path / "absent.json"), "--keys", str(tmp_path / "keys.json")]
    done = CliRunner().invoke(cli.build(arguments), arguments)
    assert (done.exit_code, "cannot read" in done.stderr) == (1, True)

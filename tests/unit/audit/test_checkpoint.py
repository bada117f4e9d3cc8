"""Signed notes against Go's published example, and against every one-character change."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from services.audit import checkpoint
from services.audit.checkpoint import Checkpoint, CheckpointError, Verifier

# The example of golang.org/x/mod/sumdb/note, signed by another implementation.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_NOTE = GO_TEXT + (
    "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SUMDB_VKEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"

SEED = bytes(range(32))
NAME = "dongui.kr/audit"
HEAD = Checkpoint(NAME, 42, hashlib.sha256(b"root").digest())


def test_a_note_signed_by_go_is_accepted() -> None:
    assert checkpoint.open_note(GO_NOTE, Verifier.parse(GO_VKEY)) == GO_TEXT


def test_published_keys_survive_reading_and_writing() -> None:
    assert Verifier.parse(GO_VKEY).vkey() == GO_VKEY
    assert Verifier.parse(SUMDB_VKEY + "\n").vkey() == SUMDB_VKEY


def test_a_checkpoint_has_the_lines_of_the_specification() -> None:
    lines = checkpoint.sign(HEAD, SEED).split("\n")
    root = "Ngq0N1ZbChXhR5b+q6dI4Qn3bhPL9qqr/qVcLqWBwQg="
    assert lines[0] == NAME
    assert lines[1] == "42"
    assert len(lines[2]) == len(root)
    assert lines[3] == ""
    assert lines[4].startswith("— dongui.kr/audit ")
    assert lines[5:] == [""]


def test_a_signed_checkpoint_is_read_back() -> None:
    verifier = checkpoint.verifier_of(NAME, SEED)
    assert checkpoint.open_checkpoint(checkpoint.sign(HEAD, SEED), verifier) == HEAD


def test_signatures_of_unknown_keys_are_ignored() -> None:
    verifier = checkpoint.verifier_of(NAME, SEED)
    witness = checkpoint.sign(HEAD, bytes(32)).split("\n")[4]
    assert checkpoint.open_checkpoint(checkpoint.sign(HEAD, SEED) + witness + "\n", verifier) == HEAD


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_every_changed_character_is_refused(data: st.DataObject) -> None:
    verifier, note = checkpoint.verifier_of(NAME, SEED), checkpoint.sign(HEAD, SEED)
    at = data.draw(st.integers(0, len(note) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != note[at]))
    with pytest.raises(CheckpointError):
        checkpoint.open_checkpoint(note[:at] + other + note[at + 1 :], verifier)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda _: "", "bad_note"),
        (lambda note: note[:-1], "bad_note"),
        (lambda note: note.replace("\n\n", "\n"), "bad_note"),
        (lambda note: note + note.split("\n")[4] + "\n", "bad_note"),
        (lambda note: note.replace("\n42\n", "\n43\n"), "bad_signature"),
        (lambda note: note.replace("— dongui.kr/audit", "— other.example"), "unknown_key"),
    ],
)
def test_a_note_that_is_not_right_is_refused_with_its_code(change, code) -> None:
    verifier = checkpoint.verifier_of(NAME, SEED)
    with pytest.raises(CheckpointError) as refused:
        checkpoint.open_checkpoint(change(checkpoint.sign(HEAD, SEED)), verifier)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "text",
    [
        f"{NAME}\n042\n{{root}}\n",
        f"{NAME}\n-1\n{{root}}\n",
        f"{NAME}\n42\nAAAA\n",
        f"{NAME}\n42\n{{root}}\nextension\n",
        f"{NAME}\n9999999999999999999\n{{root}}\n",
        "other.example\n42\n{root}\n",
    ],
)
def test_a_well_signed_text_that_is_no_checkpoint_of_ours_is_refused(text: str) -> None:
    text = text.replace("{root}", base64.b64encode(HEAD.root).decode())
    verifier = checkpoint.verifier_of(NAME, SEED)
    signature = Ed25519PrivateKey.from_private_bytes(SEED).sign(text.encode())
    line = f"— {NAME} {base64.b64encode(verifier.key_id + signature).decode()}\n"
    with pytest.raises(CheckpointError) as refused:
        checkpoint.open_checkpoint(f"{text}\n{line}", verifier)
    assert refused.value.code == "bad_note"


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        GO_VKEY.replace("c74f20a3", "c74f20a4"),
        GO_VKEY.replace("PeterNeumann", "Peter Neumann"),
        GO_VKEY[:-4],
        GO_VKEY.replace("+A", "+B", 1),
    ],
)
def test_a_key_that_is_not_right_is_refused(vkey: str) -> None:
    with pytest.raises(CheckpointError) as refused:
        Verifier.parse(vkey)
    assert refused.value.code == "bad_key"

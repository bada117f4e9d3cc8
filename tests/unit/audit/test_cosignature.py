"""Cosignatures against the specification's layout, written out by hand, and against changes."""

import base64
import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.audit import checkpoint, cosignature
from services.audit.checkpoint import Checkpoint, CheckpointError

LOG_SEED, SEED = bytes(range(32)), bytes(range(1, 33))
NAME = "witness.example.com/w1"
NOTE = checkpoint.sign(Checkpoint("dongui.kr/audit", 7, hashlib.sha256(b"root").digest()), LOG_SEED)
TEXT = NOTE.partition("\n\n")[0] + "\n"
KEY = cosignature.cosigner_of(NAME, SEED)
AT = 1679315147


def by_hand(seconds: int = AT) -> str:
    """The line as C2SP tlog-cosignature lays it out: key id || u64 big-endian || Ed25519 of the three-part message."""
    private = Ed25519PrivateKey.from_private_bytes(SEED)
    key_id = hashlib.sha256(NAME.encode() + b"\n\x04" + private.public_key().public_bytes_raw()).digest()[:4]
    message = b"cosignature/v1\ntime " + str(seconds).encode() + b"\n" + TEXT.encode()
    encoded = base64.b64encode(key_id + struct.pack(">Q", seconds) + private.sign(message)).decode()
    return f"— {NAME} {encoded}\n"


def test_a_cosignature_has_the_layout_of_the_specification() -> None:
    assert cosignature.cosign(TEXT, NAME, SEED, AT) == by_hand()


def test_a_cosigned_note_is_read_with_the_time_the_witness_named() -> None:
    found = cosignature.cosigned(NOTE + by_hand(), [KEY])
    assert [(one.name, one.seconds) for one in found] == [(NAME, AT)]
    assert checkpoint.open_checkpoint(NOTE + by_hand(), checkpoint.verifier_of("dongui.kr/audit", LOG_SEED)).size == 7


def test_the_published_key_has_the_cosigners_type_and_is_no_logs() -> None:
    assert cosignature.cosigner_key(KEY.vkey()) == KEY
    assert base64.b64decode(KEY.vkey().split("+", 2)[2])[:1] == b"\x04"
    with pytest.raises(CheckpointError):
        checkpoint.Verifier.parse(KEY.vkey())
    with pytest.raises(CheckpointError):
        cosignature.cosigner_key(checkpoint.verifier_of(NAME, SEED).vkey())


def test_other_witnesses_lines_are_passed_over() -> None:
    other = cosignature.cosigner_of("other.example/w", bytes(32))
    assert cosignature.cosigned(NOTE + by_hand(), [other]) == []
    assert cosignature.accepted_lines(NOTE, by_hand(), other) == ""
    assert cosignature.accepted_lines(NOTE, by_hand(), KEY) == by_hand()


@pytest.mark.parametrize("at", range(0, 76, 5))
def test_every_changed_byte_of_a_cosignature_is_refused(at: int) -> None:
    value = bytearray(base64.b64decode(by_hand().split(" ")[2]))
    value[at] ^= 1
    line = f"— {NAME} {base64.b64encode(bytes(value)).decode()}\n"
    if at < 4:
        assert cosignature.cosigned(NOTE + line, [KEY]) == []
        return
    for read in (lambda: cosignature.cosigned(NOTE + line, [KEY]), lambda: cosignature.accepted_lines(NOTE, line, KEY)):
        with pytest.raises(CheckpointError) as refused:
            read()
        assert refused.value.code == "bad_cosignature"


def test_a_cosignature_of_another_checkpoint_is_refused() -> None:
    other = checkpoint.sign(Checkpoint("dongui.kr/audit", 8, hashlib.sha256(b"root").digest()), LOG_SEED)
    with pytest.raises(CheckpointError):
        cosignature.cosigned(other + by_hand(), [KEY])


FOREIGN = cosignature.cosign(TEXT, "other.example/w", bytes(32), AT)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "nothing\n",
        by_hand()[:-1],
        by_hand() + "\n",
        "\n" + by_hand(),
        FOREIGN + "\n" + FOREIGN,  # found in review: what stands before the empty line would be text
        FOREIGN + "\n" + by_hand(),
    ],
)
def test_what_is_no_list_of_signatures_is_refused(answer: str) -> None:
    with pytest.raises(CheckpointError):
        cosignature.accepted_lines(NOTE, answer, KEY)


def test_of_a_witness_that_signs_many_times_one_line_is_kept() -> None:
    """A note takes a hundred signatures: more would make it one that nobody reads."""
    many = "".join(by_hand(AT + n) for n in range(100))
    assert cosignature.accepted_lines(NOTE, many, KEY) == by_hand()

"""Cosignatures of witnesses: C2SP cosignature/v1 with Ed25519. Pure.

A cosignature says: at this time, this was the largest consistent tree the witness had seen of the log. The signed
message is `cosignature/v1`, `time <seconds>`, then the checkpoint's own text; the signature in the note is the key
id, the time as eight bytes, and the 64 bytes of Ed25519. The key id has the type byte 0x04, so that a cosigner's key
can never be taken for a log's.
"""

import base64
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.audit import checkpoint
from services.audit.checkpoint import COSIGNER, KEY_ID_BYTES, CheckpointError, Verifier

SECONDS_MAX = 2**63 - 1
_TIME = struct.Struct(">Q")
_BYTES = KEY_ID_BYTES + _TIME.size + 64


@dataclass(frozen=True)
class Cosigned:
    """One good cosignature: whose, and the Unix second the witness names."""

    name: str
    seconds: int


def cosigner_of(name: str, seed: bytes) -> Verifier:
    """Return the public half of a witness's seed; raise CheckpointError `bad_key` otherwise."""
    return checkpoint.verifier_of(name, seed, COSIGNER)


def cosign(text: str, name: str, seed: bytes, seconds: int) -> str:
    """Return the signature line of a checkpoint's text, its newline included."""
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(_message(text, seconds))
    encoded = cosigner_of(name, seed).key_id + _TIME.pack(seconds) + signature
    return f"— {name} {base64.b64encode(encoded).decode()}\n"


def cosigned(note: str, cosigners: Iterable[Verifier]) -> list[Cosigned]:
    """Return the good cosignatures of these witnesses on a note; other keys' lines are passed over.

    Raises CheckpointError `bad_note`, or `bad_cosignature` when a line of one of these keys does not hold.
    """
    text, signatures = checkpoint.split_note(note)
    found = []
    for cosigner in cosigners:
        for name, signature in signatures:
            if name == cosigner.name and signature[:KEY_ID_BYTES] == cosigner.key_id:
                found.append(_opened(text, signature, cosigner))
    return found


def accepted_lines(note: str, answer: str, cosigner: Verifier) -> str:
    """Return the line of a witness's answer that is its good cosignature on this note; "" when there is none.

    One of several: a hundred would make a note that nobody reads. Raises CheckpointError when the answer is no list of
    signature lines, or one of its own lines does not hold.
    """
    text, signatures = checkpoint.split_note(checkpoint.text_part(note) + "\n" + answer)
    if text != checkpoint.text_part(note):  # an empty line in the answer: what stands before it would be signed too
        raise CheckpointError("bad_note")
    lines = [line + "\n" for line in answer.split("\n")[:-1]]
    kept = []
    for line, (name, signature) in zip(lines, signatures, strict=True):
        if name == cosigner.name and signature[:KEY_ID_BYTES] == cosigner.key_id:
            _opened(text, signature, cosigner)
            kept.append(line)
    return "".join(kept[:1])


def cosigner_key(vkey: str) -> Verifier:
    """Read a witness's published key; raise CheckpointError `bad_key`."""
    return Verifier.parse(vkey, COSIGNER)


def _opened(text: str, signature: bytes, cosigner: Verifier) -> Cosigned:
    if len(signature) != _BYTES:
        raise CheckpointError("bad_cosignature")
    (seconds,) = _TIME.unpack(signature[KEY_ID_BYTES : KEY_ID_BYTES + _TIME.size])
    if seconds > SECONDS_MAX:
        raise CheckpointError("bad_cosignature")
    try:
        key = Ed25519PublicKey.from_public_bytes(cosigner.public_key)
        key.verify(signature[KEY_ID_BYTES + _TIME.size :], _message(text, seconds))
    except InvalidSignature as error:
        raise CheckpointError("bad_cosignature") from error
    return Cosigned(cosigner.name, seconds)


def _message(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()

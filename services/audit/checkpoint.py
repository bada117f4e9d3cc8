"""Signed checkpoints: C2SP tlog-checkpoint inside a C2SP signed note with an Ed25519 signature. Pure.

A note is three lines (origin, tree size in decimal, base64 of the root), a blank line, and signature
lines `— <name> <base64(key id || signature)>`. The key id is the first four bytes of
SHA-256(name || "\\n" || 0x01 || public key). The verifier key is published as
`name+<key id in hex>+<base64(0x01 || public key)>`: the format of Go's sumdb, witnesses and Sigstore. A witness's
key has the type byte 0x04 instead (services/audit/cosignature.py).
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.audit.tree import HASH_BYTES

ORIGIN = "dongui.kr/audit"
ED25519 = b"\x01"
COSIGNER = b"\x04"
KEY_ID_BYTES = 4
SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32
NOTE_CHARACTERS_MAX = 64 * 1024
SIGNATURES_MAX = 100
SIZE_MAX = 2**63 - 1

_NAME = re.compile(r"[^\s+]{1,200}")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class CheckpointError(Exception):
    """The note or key is not what it must be. Stable codes: `bad_note`, `bad_key`, `unknown_key`, `bad_signature`,
    `bad_cosignature`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Checkpoint:
    """One tree head: the log's origin, its number of leaves, and its root."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True)
class Verifier:
    """A public key by name: what a reader of notes must hold from elsewhere. `kind` is a log's or a cosigner's."""

    name: str
    public_key: bytes
    kind: bytes = ED25519

    @property
    def key_id(self) -> bytes:
        """The four bytes that tell keys of one name apart."""
        digest = hashlib.sha256(self.name.encode() + b"\n" + self.kind + self.public_key).digest()
        return digest[:KEY_ID_BYTES]

    def vkey(self) -> str:
        """Return the key in its published text form."""
        encoded = base64.b64encode(self.kind + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str, kind: bytes = ED25519) -> "Verifier":
        """Read a published key (one line); raise CheckpointError `bad_key` when it is not one of this kind."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
            raise CheckpointError("bad_key")
        key = _base64(parts[2], "bad_key")
        if len(key) != 1 + PUBLIC_KEY_BYTES or key[:1] != kind:
            raise CheckpointError("bad_key")
        found = cls(parts[0], key[1:], kind)
        if found.key_id.hex() != parts[1]:
            raise CheckpointError("bad_key")
        return found


def verifier_of(name: str, seed: bytes, kind: bytes = ED25519) -> Verifier:
    """Return the public half of a 32-byte Ed25519 seed; raise CheckpointError `bad_key` otherwise."""
    if len(seed) != PUBLIC_KEY_BYTES or not _NAME.fullmatch(name):
        raise CheckpointError("bad_key")
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return Verifier(name, public.public_bytes(Encoding.Raw, PublicFormat.Raw), kind)


def text_of(checkpoint: Checkpoint) -> str:
    """Return the text that is signed, its final newline included."""
    root = base64.b64encode(checkpoint.root).decode()
    return f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n"


def sign(checkpoint: Checkpoint, seed: bytes) -> str:
    """Return the signed note of a checkpoint; the key's name is the origin."""
    text = text_of(checkpoint)
    key_id = verifier_of(checkpoint.origin, seed).key_id
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(text.encode())
    encoded = base64.b64encode(key_id + signature).decode()
    return f"{text}\n— {checkpoint.origin} {encoded}\n"


def open_note(note: str, verifier: Verifier) -> str:
    """Return the text of a note that this key signed (Go's sumdb rules); raise CheckpointError otherwise.

    Signatures of other keys are ignored. One of this key that does not hold, or two of it, refuse the
    note.
    """
    text, signatures = split_note(note)
    ours = [s for name, s in signatures if name == verifier.name and s[:4] == verifier.key_id]
    if not ours:
        raise CheckpointError("unknown_key")
    if len(ours) > 1:
        raise CheckpointError("bad_note")
    try:
        public_key = Ed25519PublicKey.from_public_bytes(verifier.public_key)
        public_key.verify(ours[0][KEY_ID_BYTES:], text.encode())
    except InvalidSignature as error:
        raise CheckpointError("bad_signature") from error
    return text


def open_checkpoint(note: str, verifier: Verifier) -> Checkpoint:
    """Return the checkpoint of a note this log's key signed; origin and key name must be the same.

    Raises CheckpointError. Extension lines are refused: this log writes none.
    """
    lines = open_note(note, verifier).split("\n")
    if len(lines) != 4 or lines[3] or lines[0] != verifier.name or not _DECIMAL.fullmatch(lines[1]):
        raise CheckpointError("bad_note")
    size, root = int(lines[1]), _base64(lines[2], "bad_note")
    if size > SIZE_MAX or len(root) != HASH_BYTES:
        raise CheckpointError("bad_note")
    return Checkpoint(lines[0], size, root)


def text_part(note: str) -> str:
    """Return the text of a note, unverified, its final newline included."""
    return note.rpartition("\n\n")[0] + "\n"


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Return the signed text and the signatures as (name, key id and signature); raise CheckpointError `bad_note`."""
    head, separator, tail = note.rpartition("\n\n")
    plain = len(note) <= NOTE_CHARACTERS_MAX and not _CONTROL.search(note)
    if not plain or not separator or not tail.endswith("\n"):
        raise CheckpointError("bad_note")
    lines = tail[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise CheckpointError("bad_note")
    return head + "\n", [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes]:
    marker, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if marker != "—" or not _NAME.fullmatch(name):
        raise CheckpointError("bad_note")
    signature = _base64(encoded, "bad_note")
    if len(signature) <= KEY_ID_BYTES:
        raise CheckpointError("bad_note")
    return name, signature


def _base64(text: str, code: str) -> bytes:
    """Decode canonical standard base64: one text per value, so that nothing has two spellings."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CheckpointError(code) from error
    if base64.b64encode(value).decode() != text:
        raise CheckpointError(code)
    return value

"""Compact JWE (RFC 7516) with `dir` and `A256GCM`, nothing else of JOSE: no choice, no confusion.

By hand because a JOSE library takes three times as long per record; the tests hold it against one.
No cipher object is kept: a shredded key must not live on in a cache of ours.
"""

import os
import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass, field
from typing import Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.errors import CodecError

IV_BYTES: Final = 12
TAG_BYTES: Final = 16
KEY_BYTES: Final = 32
KID: Final = re.compile(
    r"(?P<recipient>[a-z][a-z0-9-]{1,62})\."
    r"(?P<member>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\."
    r"(?P<epoch>[1-9][0-9]{0,8})"
)
"""`<recipient>.<member_ref>.<epoch>`: whose key, about whom, since which grant."""
_HEADER_NAMES: Final = frozenset({"alg", "enc", "kid", "topic", "member", "seq"})
_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
"""Base64url in the letters of base64; what only base64 has becomes no letter at all."""
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_LAST: Final = {2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}
"""Letters that leave no bit over at the end of an incomplete group, by the group's length."""


@dataclass(frozen=True, slots=True)
class ProtectedHeader:
    """What GCM authenticates beside the content, so that it can't be moved to another member."""

    kid: str
    topic: str
    member: str
    seq: int


def encrypt(header: ProtectedHeader, plain: bytes, key: bytes) -> bytes:
    """Return the compact JWE of `plain` under a 32-byte key and a fresh random 96-bit iv."""
    named = {"kid": header.kid, "topic": header.topic, "member": header.member, "seq": header.seq}
    protected = b64url(orjson.dumps({"alg": "dir", "enc": "A256GCM"} | named))
    iv = os.urandom(IV_BYTES)
    sealed = AESGCM(_key(key)).encrypt(iv, plain, protected)
    cipher, tag = sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]
    return b".".join((protected, b"", b64url(iv), b64url(cipher), b64url(tag)))


@dataclass(frozen=True, slots=True)
class Token:
    """A compact JWE taken apart, NOT yet authenticated. `aad` is the header as it was sent."""

    header: ProtectedHeader
    aad: bytes = field(repr=False)
    iv: bytes = field(repr=False)
    sealed: bytes = field(repr=False)

    def open(self, key: bytes) -> bytes:
        """Return the plain text under a 32-byte key, header authenticated; raise CodecError(wrong_key)."""
        return _open(key, self.iv, self.sealed, self.aad)


def parse(token: bytes) -> Token:
    """Take a compact JWE apart; raise CodecError(bad_jwe)."""
    protected, iv, cipher, tag = _parts(token)
    return Token(_parse_header(protected), protected, iv, cipher + tag)


def _open(key: bytes, iv: bytes, sealed: bytes, aad: bytes) -> bytes:
    try:
        return AESGCM(_key(key)).decrypt(iv, sealed, aad)
    except InvalidTag:
        pass
    raise CodecError("wrong_key")


def _key(key: bytes) -> bytes:
    """AESGCM would take 16 and 24 bytes too; our contract is A256GCM."""
    if len(key) != KEY_BYTES:
        raise CodecError("wrong_key")
    return key


def _parts(token: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Split into (protected as sent, iv, cipher text, tag); `dir` has no encrypted key."""
    parts = token.split(b".", 5)
    if len(parts) != 5 or parts[1]:
        raise CodecError("bad_jwe")
    protected, _, iv, cipher, tag = parts
    raw_iv, raw_tag = unb64url(iv), unb64url(tag)
    if len(raw_iv) != IV_BYTES or len(raw_tag) != TAG_BYTES:
        raise CodecError("bad_jwe")
    return protected, raw_iv, unb64url(cipher), raw_tag


def _parse_header(protected: bytes) -> ProtectedHeader:
    """Take exactly our six names (no `zip`, no `crit`), none twice, and our one algorithm."""
    raw = unb64url(protected)
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or found.keys() != _HEADER_NAMES or orjson.dumps(found) != raw:
        raise CodecError("bad_jwe")
    texts = all(isinstance(found[name], str) for name in ("kid", "topic", "member"))
    if found["alg"] != "dir" or found["enc"] != "A256GCM" or type(found["seq"]) is not int or not texts:
        raise CodecError("bad_jwe")
    return ProtectedHeader(found["kid"], found["topic"], found["member"], found["seq"])


def b64url(raw: bytes) -> bytes:
    """Return base64url without padding (RFC 7515 section 2)."""
    return b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=")


def unb64url(text: bytes) -> bytes:
    """Decode base64url without padding; raise CodecError(bad_jwe).

    A lax decoder ignores the spare bits and takes 16 spellings of one value; one is good.
    """
    over = len(text) % 4
    if not over or text[-1] in _LAST.get(over, b""):
        try:
            return a2b_base64(text.translate(_TO_STANDARD) + b"=" * (-over % 4), strict_mode=True) if text else b""
        except Base64Error:
            pass
    raise CodecError("bad_jwe")

"""Content at rest: AES-256-GCM under a key of the record's own, which a KEK of this process alone wraps.

Delete the row of the key and the content is gone; the members' keys have nothing to do with it.
"""

import hashlib
import hmac
import os
import unicodedata
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.keyring.kek import KekProvider

IV_BYTES = 12
KEY_BYTES = 32


class ContentError(Exception):
    """A content that its own key does not open: altered, or moved to another record."""


@dataclass(frozen=True)
class Sealed:
    """What is stored of a content, apart from each other."""

    content: bytes
    wrapped: bytes
    kek_id: str


async def seal(kek: KekProvider, record_id: str, content: dict[str, Any]) -> Sealed:
    """Seal a content under a fresh key, bound to its record. Raises KekError."""
    key, iv = os.urandom(KEY_BYTES), os.urandom(IV_BYTES)
    aad = record_id.encode()
    sealed = iv + AESGCM(key).encrypt(iv, orjson.dumps(content), aad)
    return Sealed(sealed, await kek.wrap(key, aad), kek.key_id)


async def unseal(kek: KekProvider, record_id: str, sealed: Sealed) -> dict[str, Any]:
    """Return a content again; raise KekError or ContentError."""
    aad = record_id.encode()
    key = await kek.unwrap(sealed.wrapped, aad, sealed.kek_id)
    try:
        plain = AESGCM(key).decrypt(sealed.content[:IV_BYTES], sealed.content[IV_BYTES:], aad)
    except (InvalidTag, ValueError):
        raise ContentError from None
    found: dict[str, Any] = orjson.loads(plain)
    return found


def email_mac(index_key: bytes, email: str) -> bytes:
    """Return the 32-byte HMAC by which a former member is found by the e-mail the record names."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", email).strip().casefold())
    return hmac.digest(index_key, folded.encode(), hashlib.sha256)

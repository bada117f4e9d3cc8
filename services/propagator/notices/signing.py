"""Pure: the signatures of Standard Webhooks 1.0, over `<id>.<timestamp>.<body>`.

`v1a` (ed25519) proves to anybody who sent it; `v1` (HMAC-SHA256 under the endpoint's secret) suits receivers
whose library knows nothing else. Both are in the one header, so a receiver checks whichever it can.
"""

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - a prefix, not a secret
PUBLIC_PREFIX: Final = "whpk_"
SEED_BYTES: Final = 32
SECRET_BYTES: Final = range(24, 65)


class SigningKeyError(ValueError):
    """A secret is not `whsec_` + base64 of 24 to 64 bytes, or a seed not 32 bytes (raw or base64)."""


def secret_of(text: str) -> bytes:
    """Return the bytes of an endpoint's secret; raise SigningKeyError."""
    raw = _base64(text.removeprefix(SECRET_PREFIX).encode())
    if not text.startswith(SECRET_PREFIX) or len(raw) not in SECRET_BYTES:
        raise SigningKeyError("secret")
    return raw


def seed_of(content: bytes) -> bytes:
    """Return the ed25519 seed in a key file's content; raise SigningKeyError."""
    seed = content if len(content) == SEED_BYTES else _base64(content.strip())
    if len(seed) != SEED_BYTES:
        raise SigningKeyError("seed")
    return seed


def _base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


class Signer:
    """Signs for every endpoint with one ed25519 key, and with the endpoint's own secret.

    While a key is being replaced both sign: each signature stands in the header by itself, and one good one is enough.
    """

    def __init__(self, seed: bytes, *earlier: bytes) -> None:
        self._keys = [Ed25519PrivateKey.from_private_bytes(one) for one in (seed, *earlier)]

    @property
    def public_key(self) -> str:
        """What third parties verify `v1a` with: `whpk_` + base64 of 32 bytes."""
        return self.public_keys[0]

    @property
    def public_keys(self) -> list[str]:
        """The public keys of all that sign now, the one that stays first."""
        return [PUBLIC_PREFIX + _text(key.public_key().public_bytes_raw()) for key in self._keys]

    def headers(self, message_id: str, at: datetime, body: bytes, *secrets: bytes) -> dict[str, str]:
        """Return the three headers of one attempt made at `at` (aware; whole UTC seconds are sent)."""
        stamp = str(int(at.timestamp()))
        signed = f"{message_id}.{stamp}.".encode() + body
        mine = [f"v1a,{_text(key.sign(signed))}" for key in self._keys]
        shared = [f"v1,{_text(hmac.digest(secret, signed, hashlib.sha256))}" for secret in secrets]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": " ".join(mine + shared),
        }


def secret_text(secret: bytes) -> str:
    """Return an endpoint's secret as its third party is given it."""
    return SECRET_PREFIX + _text(secret)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()

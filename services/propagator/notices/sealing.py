"""Pure: endpoints' secrets at rest. A secret is a key we must be able to use, so it is sealed and not hashed.

The sealing key is derived from the seed of our webhook signature, which this process has anyway: it needs no second
key file, and not the KEK, which would open every member's key to it.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

INFO: Final = b"dongui/notices/endpoint-secret/v1"
IV_BYTES: Final = 12


class SealedError(Exception):
    """A secret was sealed under another signing key, or for another recipient."""


class Sealer:
    """Seals under the first seed; unseals what any of them sealed."""

    def __init__(self, seed: bytes, *earlier: bytes) -> None:
        self._ciphers = [AESGCM(_derived(one)) for one in (seed, *earlier)]

    def seal(self, secret: bytes, recipient: str) -> bytes:
        """Return iv, cipher text and tag in one; it opens for this recipient only."""
        iv = os.urandom(IV_BYTES)
        return iv + self._ciphers[0].encrypt(iv, secret, recipient.encode())

    def unseal(self, sealed: bytes, recipient: str) -> bytes:
        """Return the secret; raise SealedError."""
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:IV_BYTES], sealed[IV_BYTES:], recipient.encode())
            except (InvalidTag, ValueError):
                continue
        raise SealedError(recipient)


def _derived(seed: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=INFO).derive(seed)

"""Small things kept under a member's data key at rest: an attachment, an agent's name. Shred the key and they are gone.

AES-256-GCM under a key derived for this use alone; the label binds a sealed value to the place it was made for.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.keyring import derive

VAULT = "consent-vault"
"""Takes the recipient's place in the key id; no affiliate or third party has it."""
_IV_BYTES = 12


class SealError(Exception):
    """A sealed value that does not open: another key, another label, or not what was sealed."""


def seal(data_key: bytes, member_ref: str, label: str, plain: bytes) -> bytes:
    """Return iv and ciphertext of `plain`, bound to the member and to `label`."""
    iv = os.urandom(_IV_BYTES)
    return iv + AESGCM(_key(data_key, member_ref)).encrypt(iv, plain, label.encode())


def unseal(data_key: bytes, member_ref: str, label: str, sealed: bytes) -> bytes:
    """Return what was sealed under this label; raise SealError."""
    try:
        return AESGCM(_key(data_key, member_ref)).decrypt(sealed[:_IV_BYTES], sealed[_IV_BYTES:], label.encode())
    except (InvalidTag, ValueError):
        raise SealError from None


def _key(data_key: bytes, member_ref: str) -> bytes:
    return derive.content_key(data_key, derive.format_kid(VAULT, member_ref, 1))

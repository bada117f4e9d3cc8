"""Standard Webhooks' spellings of keys: a shared secret `whsec_…` and an ed25519 public key `whpk_…`."""

import base64
import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET_BYTES = 32


def new_secret() -> str:
    """Return a new random shared secret."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def public_key(seed: bytes) -> str:
    """Return the public key of a 32-byte ed25519 seed, as a third party is given it."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return "whpk_" + base64.b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

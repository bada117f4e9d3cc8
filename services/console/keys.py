"""The console's one key: it signs the short-lived tokens with which the APIs are asked, and seals second factors.

The services trust its public half for people's roles only (`roles` in their JWKS), never as a service, an affiliate's
backend or a member.
"""

import hmac
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwt
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64decode

from services.console.model import Account

ALGORITHM: Final = "Ed25519"
LIFETIME: Final = timedelta(minutes=2)
NONCE_BYTES: Final = 12


class ConsoleKey:
    """Signs and seals. Raises ValueError for a file that is no private Ed25519 JWK."""

    def __init__(self, path: Path, issuer: str, audience: str) -> None:
        content = orjson.loads(path.read_bytes())
        self._key = OKPKey.import_key(content)
        self._issuer, self._audience = issuer, audience
        if "d" not in content:
            raise ValueError("the console's key file holds no private key")
        seed = urlsafe_b64decode(content["d"].encode())
        self._aead = AESGCM(_derived(seed, b"dongui console second factors"))
        self._names = _derived(seed, b"dongui console names")

    def token(self, account: Account, access_point: str, now: datetime) -> str:
        """Return a bearer token of this person's role for two minutes, with where it was asked from (for the log).

        It says when the account is not confirmed: the APIs let it take no part in what needs two persons.
        """
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": account.subject,
            "roles": [account.token_role],
            "access_point": access_point,
            **({"unconfirmed": True} if account.vouched_by else {}),
            "iat": int(now.timestamp()),
            "exp": int((now + LIFETIME).timestamp()),
        }
        return jwt.encode({"alg": ALGORITHM, "kid": self._key.kid}, claims, self._key, algorithms=[ALGORITHM])

    def mac(self, name: str) -> bytes:
        """Return what stands for a name that was typed at the sign-in: nobody reads it back from the database."""
        return hmac.digest(self._names, name.encode(errors="surrogatepass"), "sha256")

    def seal(self, account_id: str, secret: str) -> bytes:
        """Return a second factor's secret sealed for one account."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, secret.encode(), account_id.encode())

    def open(self, account_id: str, sealed: bytes) -> str:
        """Return the secret. Raises cryptography's InvalidTag when it was sealed for another account or key."""
        return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], account_id.encode()).decode()


def _derived(seed: bytes, use: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=use).derive(seed)

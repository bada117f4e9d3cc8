"""The dev issuer: signs the bearer tokens of the embedded stack. Anywhere else an identity provider does."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from joserfc import jwt
from joserfc.jwk import OKPKey

from services.runtime.clock import Clock

ALGORITHM = "Ed25519"
LIFETIME = timedelta(days=365)
STAFF = ("compliance", "cpo", "sre", "auditor")


class Issuer:
    """Issues tokens of one issuer and audience with one Ed25519 key."""

    def __init__(self, key_file: Path, issuer: str, audience: str, clock: Clock) -> None:
        self._key = OKPKey.import_key(orjson.loads(key_file.read_bytes()))
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    def token(self, sub: str, *roles: str, lifetime: timedelta = LIFETIME) -> str:
        """Return a signed token for a subject with these roles."""
        now = self._clock()
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": sub,
            "roles": list(roles),
            "iat": int(now.timestamp()),
            "exp": int((now + lifetime).timestamp()),
        }
        header = {"alg": ALGORITHM, "kid": self._key.kid}
        return jwt.encode(header, claims, self._key, algorithms=[ALGORITHM])

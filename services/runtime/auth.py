"""Bearer tokens (RFC 8725): one algorithm, pinned issuer and audience, keys from a JWKS file or URL."""

import asyncio
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from services.runtime.settings import MissingSettingsError, Settings

ALGORITHMS = ["EdDSA", "Ed25519"]
JWKS_TTL_S = 300.0
JWKS_TIMEOUT_S = 5.0
JWKS_RETRY_S = 10.0
JWKS_STALE_S_MAX = 3600.0
LEEWAY_S = 30
VERIFIED_MAX = 4096
"""Signatures remembered as good: a service sends one token thousands of times, and a check costs a millisecond."""
log = structlog.get_logger("auth")


Signed = tuple[dict[str, Any], list[str] | None]
"""The claims of a token, and the roles its key may say (None: any)."""


class AuthError(Exception):
    """The caller is not known (401) or the keys cannot be had (503). `code` is stable; nothing of the token in it."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Principal:
    """Who asks: `sub` is a member_ref, an affiliate id, a third-party id or a staff id; roles decide what it may.

    `access_point` is the network address of a person at the console, as the console's token says it; `unconfirmed` that
    one other person alone answers for who uses the account.
    """

    sub: str
    roles: frozenset[str]
    access_point: str | None = None
    unconfirmed: bool = False

    def has(self, *roles: str) -> bool:
        return not self.roles.isdisjoint(roles)


class Authenticator:
    """Verifies tokens of one issuer; reads its keys from their source, a file or a URL, again every five minutes."""

    def __init__(
        self, issuer: str, audience: str, *, keys: KeySet | None = None, source: Path | str | None = None
    ) -> None:
        self._source = source
        self._keys = keys
        self._fetched_at = time.monotonic() if keys is not None else float("-inf")
        self._next_fetch_at = float("-inf")
        self._lock = asyncio.Lock()
        self._verified: dict[bytes, Signed] = {}
        self._claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> "Authenticator":
        """Build from `jwks_file` or `jwks_url`; raise MissingSettingsError when neither is set.

        A file is read here too, so that a process with a broken one does not start.
        """
        if settings.jwks_file:
            keys = KeySet.import_key_set(orjson.loads(settings.jwks_file.read_bytes()))
            return cls(settings.issuer, settings.audience, keys=keys, source=settings.jwks_file)
        if settings.jwks_url:
            return cls(settings.issuer, settings.audience, source=settings.jwks_url)
        raise MissingSettingsError(["jwks_file"])

    async def principal(self, authorization: str | None) -> Principal:
        """Return who a header `Bearer <token>` names; raise AuthError otherwise."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AuthError(401, "token_missing")
        keys = await self._current_keys()
        try:
            claims, allowed = self._signed(token.strip(), keys)
            self._claims.validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            raise AuthError(401, "token_invalid") from error
        return _principal(claims, allowed)

    def _signed(self, token: str, keys: KeySet) -> Signed:
        """Return the claims of a token whose signature is good, and which roles its key may say."""
        digest = hashlib.sha256(token.encode()).digest()
        if (known := self._verified.get(digest)) is not None:
            return known
        decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
        found = (decoded.claims, _roles_of_key(keys, decoded.header.get("kid")))
        if len(self._verified) >= VERIFIED_MAX:
            self._verified.clear()
        self._verified[digest] = found
        return found

    async def _current_keys(self) -> KeySet:
        async with self._lock:
            if self._source and time.monotonic() >= self._next_fetch_at:
                await self._refresh(self._source)
        if self._keys is None:
            raise AuthError(503, "keys_unavailable")
        return self._keys

    async def _refresh(self, source: Path | str) -> None:
        """Read the keys; while they cannot be had, known ones serve on for an hour and no longer."""
        now = time.monotonic()
        self._verified.clear()  # a key that is no longer published signs nothing any more
        try:
            self._keys = await _load(source)
        except AuthError:
            if now - self._fetched_at > JWKS_STALE_S_MAX:
                self._keys = None
                raise
            self._next_fetch_at = now + JWKS_RETRY_S
        else:
            self._fetched_at, self._next_fetch_at = now, now + JWKS_TTL_S


def _principal(claims: dict[str, object], allowed: list[str] | None) -> Principal:
    roles, place = claims.get("roles"), claims.get("access_point")
    if not isinstance(roles, list) or not all(isinstance(r, str) for r in roles):
        raise AuthError(401, "token_invalid")
    if allowed is not None and not set(roles) <= set(allowed):
        raise AuthError(401, "token_invalid")
    unconfirmed = claims.get("unconfirmed", False) is not False
    return Principal(str(claims["sub"]), frozenset(roles), place if isinstance(place, str) else None, unconfirmed)


def _roles_of_key(keys: KeySet, kid: object) -> list[str] | None:
    """Return the roles that tokens of this key may say: its member `roles` in the JWKS; None where it names none.

    So that the console's key cannot be used to speak as a service. A set with such a key needs a `kid` in each token.
    """
    limits = {key.kid: key.as_dict(private=False).get("roles") for key in keys.keys}
    if not any(limits.values()):
        return None
    if kid not in limits:
        raise AuthError(401, "token_invalid")
    found = limits[str(kid)]
    return list(found) if isinstance(found, list) else None


async def _load(source: Path | str) -> KeySet:
    """Return the keys as they are published now. Raises AuthError 503 when they cannot be had or are no key set."""
    try:
        content = _read(source) if isinstance(source, Path) else await _fetch(source)
        return KeySet.import_key_set(orjson.loads(content))
    except (OSError, aiohttp.ClientError, ValueError, TypeError, LookupError, JoseError) as error:
        log.warning("keys_unavailable", error=type(error).__name__)
        raise AuthError(503, "keys_unavailable") from error


def _read(path: Path) -> bytes:
    return path.read_bytes()


async def _fetch(url: str) -> bytes:
    timeout = aiohttp.ClientTimeout(total=JWKS_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:  # a redirect too: the keys come from the place that was configured
            raise ValueError("the answer holds no keys")
        return await answer.read()

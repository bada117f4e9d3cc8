"""Sign-in at an identity provider: OpenID Connect, authorization code with PKCE (RFC 7636), ID token checked here.

Authlib makes the requests' parts, joserfc verifies the token. Roles come from a claim by a map in the settings;
whoever has none of them does not get in.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from services.console.model import Role, standing
from services.runtime.settings import Settings

ALGORITHMS: Final = ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"]
SCOPE: Final = "openid profile"
TIMEOUT_S: Final = 10.0
LEEWAY_S: Final = 60
TOKEN_BYTES: Final = 32


class ProviderError(Exception):
    """The provider does not answer, or its answer does not hold; `code` says what, without anything of the token."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Attempt:
    """One sign-in under way: what must come back, and what proves that it was begun here."""

    state: str = field(default_factory=lambda: secrets.token_urlsafe(TOKEN_BYTES))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(TOKEN_BYTES))
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(TOKEN_BYTES * 2))


@dataclass(frozen=True)
class Person:
    """Whom the provider vouches for: `subject` is `issuer sub`, `name` what it calls them, `standing` the role here."""

    subject: str
    name: str
    standing: tuple[Role, str | None]


class Provider:
    """One identity provider, found by its discovery document when it is first needed."""

    def __init__(self, settings: Settings, callback: str) -> None:
        """Raise ValueError for a role in the map that is none, or for a provider over plain http outside the dev
        profile."""
        assert settings.oidc_issuer
        if urlsplit(settings.oidc_issuer).scheme != "https" and settings.profile != "dev":
            raise ValueError("DONGUI_OIDC_ISSUER must be https")
        self._issuer = settings.oidc_issuer
        self._client_id = settings.require("oidc_client_id").oidc_client_id or ""
        self._secret = settings.oidc_client_secret
        self._claim = settings.oidc_roles_claim
        self._roles = {value: standing(role) for value, role in settings.oidc_roles.items()}
        self._callback = callback
        self._found: dict[str, Any] | None = None
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False)

    @classmethod
    def of_settings(cls, settings: Settings) -> "Provider | None":
        """Return the provider of the settings; None when there is none."""
        if settings.oidc_issuer is None:
            return None
        return cls(settings, f"{(settings.console_url or '').rstrip('/')}/sign-in/oidc/callback")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def begin(self, attempt: Attempt) -> str:
        """Return the address at the provider to which the browser goes."""
        found = await self._discovered()
        return str(
            prepare_grant_uri(
                found["authorization_endpoint"],
                client_id=self._client_id,
                response_type="code",
                redirect_uri=self._callback,
                scope=SCOPE,
                state=attempt.state,
                nonce=attempt.nonce,
                code_challenge=create_s256_code_challenge(attempt.verifier),
                code_challenge_method="S256",
            )
        )

    async def finish(self, code: str, nonce: str, verifier: str) -> Person | None:
        """Exchange the code, verify the ID token; None for somebody who has no role here. Raises ProviderError."""
        found = await self._discovered()
        answer = await self._post(found["token_endpoint"], code, verifier)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise ProviderError("no_id_token")
        return self._person(self._claims(token, await self._keys(found["jwks_uri"]), nonce))

    def _claims(self, token: str, keys: KeySet, nonce: str) -> dict[str, Any]:
        wanted = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._client_id},
            nonce={"essential": True, "value": nonce},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
            wanted.validate(decoded.claims)
        except (JoseError, ValueError, TypeError) as error:
            raise ProviderError("id_token_invalid") from error
        return dict(decoded.claims)

    def _person(self, claims: dict[str, Any]) -> Person | None:
        said = claims.get(self._claim)
        values = [said] if isinstance(said, str) else said if isinstance(said, list) else []
        roles = [self._roles[value] for value in values if isinstance(value, str) and value in self._roles]
        if not roles:
            return None
        name = claims.get("preferred_username")
        return Person(f"{self._issuer} {claims['sub']}", name if isinstance(name, str) else "", roles[0])

    async def _discovered(self) -> dict[str, Any]:
        if self._found is None:
            found = await self._json(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self._issuer:
                raise ProviderError("issuer_differs")
            self._found = found
        return self._found

    async def _keys(self, url: str) -> KeySet:
        try:
            return KeySet.import_key_set(await self._json(url))  # type: ignore[arg-type]
        except (JoseError, ValueError, KeyError) as error:
            raise ProviderError("keys_invalid") from error

    async def _post(self, url: str, code: str, verifier: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._callback,
            "client_id": self._client_id,
            "code_verifier": verifier,
        }
        secret = httpx.BasicAuth(self._client_id, self._secret.get_secret_value()) if self._secret else None
        return await self._answer(self._http.build_request("POST", url, data=form), secret)

    async def _json(self, url: str) -> dict[str, Any]:
        return await self._answer(self._http.build_request("GET", url), None)

    async def _answer(self, request: httpx.Request, auth: httpx.BasicAuth | None) -> dict[str, Any]:
        try:
            answer = await self._http.send(request, auth=auth)
            found = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderError("provider_away") from error
        if answer.status_code != 200 or not isinstance(found, dict):
            raise ProviderError("provider_refused")
        return found

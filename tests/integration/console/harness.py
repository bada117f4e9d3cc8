"""A console in the test's loop on a real database, with a clock of the test's; and an identity provider over HTTP."""

import asyncio
import base64
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson
import uvicorn
from argon2 import PasswordHasher
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey, RSAKey
from pydantic import SecretStr

from services.console import app as composition
from services.console import web
from services.console.app import Parts
from services.runtime.settings import Settings
from tests.support.console import Person
from tests.support.databases import Databases

CLIENT, SECRET = "dongui-console", "a secret with a colon: and a space"
FIRST = {"cpo": "first-cpo-password", "kim": "first-kim-password"}


@dataclass
class Console:
    """The console under test: `now` is what its clock says, ahead of the machine's by `ahead`."""

    parts: Parts
    transport: httpx.ASGITransport
    url: str
    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def person(self, address: str = "127.0.0.1") -> Person:
        """Somebody with a browser of their own, at an address."""
        transport = httpx.ASGITransport(self.transport.app, client=(address, 5000))
        return Person(httpx.AsyncClient(transport=transport, base_url=self.url))

    async def entries(self) -> list[tuple[str, dict[str, str]]]:
        """Return (state, codes) of every register entry the console handed to the audit log."""
        rows = await self.parts.desk.gate.pool.fetch("SELECT payload FROM outbox ORDER BY position")
        return [(found["state"], found["codes"]) for found in (orjson.loads(row["payload"]) for row in rows)]


def settings_in(folder: Path, databases: Databases, **more: Any) -> Settings:
    """Settings of a console whose APIs are nowhere."""
    key = OKPKey.generate_key("Ed25519", auto_kid=True)
    (folder / "console_key.json").write_bytes(orjson.dumps(key.as_dict(private=True)))
    accounts = {name: {"role": "cpo" if name == "cpo" else "compliance", "password": p} for name, p in FIRST.items()}
    (folder / "accounts.json").write_bytes(orjson.dumps(accounts))
    nowhere = "http://127.0.0.1:9"
    told = {
        "profile": "dev",
        "kafka": "127.0.0.1:9",
        "console_dsn": SecretStr(databases.dsn("console")),
        "console_key_file": folder / "console_key.json",
        "console_first_accounts_file": folder / "accounts.json",
        "console_url": "http://127.0.0.1:8800",
        "consent_url": nowhere,
        "audit_url": nowhere,
        "retention_url": nowhere,
    }
    return Settings(**{**told, **more})


@contextlib.asynccontextmanager
async def running(settings: Settings, hasher: PasswordHasher | None = None) -> AsyncIterator[Console]:
    """Build the console of these settings; no relay runs, what it would publish is read from the outbox."""
    made: list[Console] = []
    quick = hasher or PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    async with composition.build(settings, lambda: made[0].now() if made else datetime.now(UTC), quick) as parts:
        transport = httpx.ASGITransport(web.create(parts.desk, _ready), client=("127.0.0.1", 5000))
        made.append(Console(parts, transport, str(settings.console_url).rstrip("/")))
        yield made[0]


async def _ready() -> dict[str, bool]:
    return {}


@dataclass
class IdentityProvider:
    """A small OpenID provider: it insists on PKCE and the client's secret, and lies where a test wants it to."""

    url: str = ""
    user: dict[str, Any] = field(default_factory=dict)
    lies: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "idp"}))
    other: RSAKey | None = None
    impostor: bool = False
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def forget(self) -> None:
        """Be honest and know nobody."""
        self.user, self.lies, self.other, self.impostor = {}, {}, None, False
        self.codes.clear()
        self.refused.clear()

    def app(self) -> FastAPI:
        made = FastAPI()
        made.get("/.well-known/openid-configuration")(self.discovery)
        made.get("/authorize")(self.authorize)
        made.post("/token")(self.token)
        made.get("/jwks")(self.jwks)
        return made

    async def discovery(self) -> dict[str, str]:
        issuer = "https://another.example" if self.impostor else self.url
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        return {"issuer": issuer, **{name: f"{self.url}/{path}" for name, path in places.items()}}

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        wanted = {"client_id": CLIENT, "response_type": "code", "code_challenge_method": "S256"}
        if any(asked.get(name) != value for name, value in wanted.items()) or "openid" not in asked["scope"].split():
            return JSONResponse({"error": "invalid_request"}, 400)
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 303)

    async def token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        begun = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        right = (
            begun is not None
            and form.get("grant_type") == "authorization_code"
            and begun["code_challenge"] == challenge
            and begun["redirect_uri"] == form.get("redirect_uri")
            and request.headers.get("authorization") == f"Basic {basic}"
        )
        if begun is None or not right:
            self.refused.append(form.get("code", ""))
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse({"token_type": "Bearer", "access_token": "x", "id_token": self._id_token(begun["nonce"])})

    def _id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "nonce": nonce, "iat": now, "exp": now + 60, **self.user, **self.lies}
        return jwt.encode({"alg": "RS256", "kid": "idp"}, claims, self.other or self.key)

    async def jwks(self) -> dict[str, Any]:
        return dict(KeySet([self.key]).as_dict(private=False))


@contextlib.asynccontextmanager
async def identity_provider() -> AsyncIterator[IdentityProvider]:
    """Run a provider on a free port of its own."""
    provider = IdentityProvider()
    server = uvicorn.Server(uvicorn.Config(provider.app(), port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    provider.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield provider
    finally:
        server.should_exit = True
        await serving

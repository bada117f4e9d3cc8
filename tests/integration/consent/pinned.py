"""The consent API on the test's real database with the clock standing still: dates can be written by hand."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import asyncpg
import httpx
import orjson

from services.consent import api
from services.consent.handlers import Consent
from services.runtime.auth import Authenticator
from services.runtime.rates import Rates
from tests.integration.consent.harness import Service, a_sign_up, a_token, bearer


@dataclass
class Pinned:
    """HTTP against the API as of one instant."""

    consent: Consent
    http: httpx.AsyncClient

    async def post(self, path: str, body: Any = None, **kwargs: Any) -> httpx.Response:
        """POST with a fresh Idempotency-Key unless one is given."""
        headers = {"Idempotency-Key": str(uuid.uuid4())} | kwargs.pop("headers", {})
        return await self.http.post(path, json=body, headers=headers, **kwargs)

    async def sign_up(self, **changes: Any) -> str:
        answer = await self.post("/v1/members", a_sign_up(**changes))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["member_ref"])

    async def status(self, ref: str) -> str:
        return str((await self.http.get(f"/v1/members/{ref}")).json()["status"])


@contextlib.asynccontextmanager
async def as_of(service: Service, at: datetime, *roles: str, sub: str = "shop") -> AsyncIterator[Pinned]:
    """Serve the API in this process with the clock at `at`, for a caller with these roles (`service` when none)."""
    consent = replace(service.consent, clock=lambda: at)

    async def ready() -> dict[str, bool]:
        return {}

    settings = service.settings
    app = api.create(consent, Authenticator.from_settings(settings), Rates.from_settings(settings), ready)
    token = a_token(sub, *(roles or ("service",)))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://consent", headers=bearer(token)) as http:
        yield Pinned(consent, http)


async def outbox(service: Service, topic: str) -> list[dict[str, Any]]:
    """Return the clear records on their way to a topic, oldest first."""
    rows = await service.pool.fetch(
        "SELECT payload FROM outbox WHERE aggregatetype = $1 AND headers ->> 'content-type' = 'application/json' "
        "ORDER BY position",
        topic,
    )
    return [orjson.loads(row["payload"]) for row in rows]


async def emptied(service: Service, *tables: str) -> None:
    """Empty tables that nothing ties to a member."""
    owner = await asyncpg.connect(service.databases.owner_dsn("consent"))
    try:
        await owner.execute(f"TRUNCATE {', '.join(tables)}")
    finally:
        await owner.close()

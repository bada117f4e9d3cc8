"""How the demo sees the running system: over HTTP as a backend would, and by looking into each affiliate's store."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx

from services.runtime import postgres

TIMEOUT_S = 30.0
POLL_S = 0.05
FOLLOW_TIMEOUT_S = 60.0
MEMBER_COLUMNS = ("email", "name", "status", "marketing")
PROCESSED_COLUMNS = ("service", "role", "items")

Stores = dict[str, dict[str, Any]]
"""Affiliate to `{"member": row or None, "processed": row or None}` of one member."""


class BrokenPromiseError(Exception):
    """Something is not as this system promises; the message says what."""


@dataclass(frozen=True)
class World:
    """Open connections to one running system."""

    described: dict[str, Any]
    consent: httpx.AsyncClient
    audit: httpx.AsyncClient
    pools: dict[str, asyncpg.Pool]

    async def ask(self, method: str, path: str, body: Any = None, etag: str | None = None) -> httpx.Response:
        """Send one request to the consent service; raise BrokenPromiseError when it is refused."""
        headers = {"If-Match": etag} if etag else {}
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        return _good(await self.consent.request(method, path, json=body, headers=headers))

    async def of_audit(self, path: str) -> Any:
        """Return the JSON of one GET of the audit service."""
        return _good(await self.audit.get(path)).json()

    async def partner_received(self) -> list[dict[str, Any]]:
        """Return every message the demo's third party has received, as it keeps them."""
        async with httpx.AsyncClient(base_url=self.described["partner_url"], timeout=TIMEOUT_S) as partner:
            found = _good(await partner.get("/received")).json()["received"]
        return [one["message"] for one in found]

    async def stores(self, ref: str) -> Stores:
        """Return what each affiliate's own database holds of one member."""
        rows = await asyncio.gather(*(_store(pool, ref) for pool in self.pools.values()))
        return dict(zip(self.pools, rows, strict=True))

    async def followed(self, change_id: str) -> dict[str, Any]:
        """Wait until every recipient has answered a change and the log has sealed it; return it."""

        async def answered() -> dict[str, Any] | None:
            found: dict[str, Any] = (await self.ask("GET", f"/v1/changes/{change_id}")).json()
            return found if found["complete"] and found["sealed_at"] else None

        change: dict[str, Any] = await self.until(answered, f"change {change_id} did not reach everyone")
        return change

    async def until(self, look: Callable[[], Awaitable[Any]], otherwise: str, timeout_s: float | None = None) -> Any:
        """Return the first true answer of `look`; raise BrokenPromiseError(otherwise) when there is none in time."""
        deadline = asyncio.get_running_loop().time() + (timeout_s or FOLLOW_TIMEOUT_S)
        while not (found := await look()):
            if asyncio.get_running_loop().time() > deadline:
                raise BrokenPromiseError(otherwise)
            await asyncio.sleep(POLL_S)
        return found


@asynccontextmanager
async def opened(described: dict[str, Any]) -> AsyncIterator[World]:
    """Open the connections to a system and close them after."""
    headers = {"Authorization": f"Bearer {described['tokens']['service']}", "Accept-Language": "en"}
    async with AsyncExitStack() as stack:
        consent, audit = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_S))
            for url in (described["consent_url"], described["audit_url"])
        ]
        pools = {}
        for affiliate, dsn in described["databases"]["affiliates"].items():
            pools[affiliate] = await postgres.open_pool(dsn, size=2, application="dongui-demo")
            stack.push_async_callback(pools[affiliate].close)
        yield World(described, consent, audit, pools)


async def _store(pool: asyncpg.Pool, ref: str) -> dict[str, Any]:
    member = await pool.fetchrow("SELECT email, name, status, marketing FROM member WHERE member_ref = $1", ref)
    processed = await pool.fetchrow("SELECT service, role, items FROM processed_member WHERE member_ref = $1", ref)
    return {"member": dict(member) if member else None, "processed": dict(processed) if processed else None}


def _good(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        problem = answer.json()
        told = f"{problem['code']}: {problem['detail']} {problem.get('errors', '')}"
    except (ValueError, KeyError):
        told = ""
    raise BrokenPromiseError(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {told}")

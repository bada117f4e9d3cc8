"""The canary on the whole system: HTTP, outbox, Kafka, the store, back as a receipt; and the gauge that says so."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import asyncpg
import httpx
from pydantic import SecretStr

from services.devstack.system import System
from services.propagator import canary
from services.runtime.settings import Settings

AFFILIATE = "tmax-os"
GAUGE = re.compile(rf'^dongui_canary_returned_seconds{{affiliate="{AFFILIATE}"}} (\S+)$', re.MULTILINE)


@contextlib.asynccontextmanager
async def sending(system: System) -> AsyncIterator[None]:
    """The loop of the affiliate's process, with its own token, more often than in any installation."""
    told = system.described()
    token = told["tokens"]["affiliates"][AFFILIATE]
    settings = Settings(consent_url=told["consent_url"], canary_interval_s=0.1, affiliate_tokens={"": SecretStr("")})
    stop = asyncio.Event()
    loop = asyncio.create_task(canary.run(settings, AFFILIATE, token, stop))
    try:
        yield
    finally:
        stop.set()
        await loop


async def gauge(client: httpx.AsyncClient) -> float:
    """Return the gauge; a process that has just started may not have read the ledger yet."""
    async with asyncio.timeout(30):
        while (found := GAUGE.search((await client.get("/metrics")).text)) is None:
            await asyncio.sleep(0.1)
    return float(found[1])


async def test_a_canary_goes_round_again_and_again_and_the_gauge_follows(system: System) -> None:
    told = system.described()
    headers = {"Authorization": f"Bearer {told['tokens']['sre']}"}
    async with httpx.AsyncClient(base_url=told["consent_url"], headers=headers, timeout=30) as client:
        before = await gauge(client)
        async with sending(system), asyncio.timeout(60):
            mine: dict[str, object] = {}
            while not (mine.get("returned_at") and int(str(mine["seq"])) >= 3):
                await asyncio.sleep(0.1)
                found = (await client.get("/v1/canaries")).json()["canaries"]
                mine = next((one for one in found if one["affiliate"] == AFFILIATE), {})
            while await gauge(client) <= before:
                await asyncio.sleep(0.5)
    store = await asyncpg.connect(told["databases"]["affiliates"][AFFILIATE])
    try:
        row = await store.fetchrow("SELECT email, name, seq FROM member WHERE member_ref = $1", mine["member_ref"])
    finally:
        await store.close()
    assert row["email"].endswith("@canary.dongui.invalid")
    assert row["seq"] >= 2
    assert row["name"] == f"카나리아 {row['seq']}"
    assert 0 < float(str(mine["round_trip_s"])) < 30

"""Members of a running system who have lived and left: signed up, everything shared, a statutory record, withdrawn."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx

from benchmarks import load, servers
from services.devstack.provision import AFFILIATES
from services.devstack.system import System

AT_ONCE: Final = 4
AGAIN_S: Final = 0.2
RETRIED_S: Final = 60.0
TIMEOUT_S: Final = 600.0
UNAVAILABLE: Final = 503
OWED = "SELECT count(*) FROM delivery WHERE stage NOT IN ('applied', 'superseded')"
DONE = "SELECT member_ref::text, extract(epoch FROM shredded_at)::float8 AS at FROM erasure WHERE state = 'erased'"
MARKED = "SELECT member_ref::text FROM suppressed"
RECORD: Final = {"class": "payment", "occurred_at": "2026-01-05T10:00:00+09:00"}
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Leavers:
    """One system under measurement; every value of its members holds `marker`."""

    system: System
    client: httpx.AsyncClient
    marker: str

    async def left(self, numbers: Iterable[int]) -> list[str]:
        """Let one member for each number live and leave; return their references."""
        return await side_by_side(numbers, self._lived)

    async def settled(self) -> None:
        """Wait until every store has followed."""
        dsn = self.system.installation.owner_dsns()["consent"]
        async with asyncio.timeout(TIMEOUT_S):
            while (await servers.fetch(dsn, OWED))[0]["count"]:
                await asyncio.sleep(AGAIN_S)

    async def erased(self, refs: list[str]) -> float:
        """Order every destruction by name; return the seconds until each key is shredded, behind all stores."""
        server = load.Server(self.client.base_url.port or 0, self.system.pid("consent"))
        headers = {"Authorization": self.client.headers["Authorization"]}
        orders = [
            load.request("POST", f"/v1/erasures/{ref}/execute", {}, headers | {"Idempotency-Key": str(uuid.uuid4())})
            for ref in refs
        ]
        started = time.time()
        await load.run(server, orders)
        return max((await self.gone(refs)).values()) - started

    async def ordered(self, refs: list[str]) -> None:
        """Order every destruction by name, again and again while the process is away."""
        await side_by_side(refs, lambda ref: self.post(f"/v1/erasures/{ref}/execute"))

    async def gone(self, refs: list[str]) -> dict[str, float]:
        """Wait until each key is shredded and each store refuses the reference; return the instants of the shreds."""
        wanted, dsns = set(refs), self.system.installation.owner_dsns()
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                shredded = {row["member_ref"]: row["at"] for row in await servers.fetch(dsns["consent"], DONE)}
                marked = [{row["member_ref"] for row in await servers.fetch(dsns[a], MARKED)} for a in AFFILIATES]
                if wanted <= shredded.keys() and all(wanted <= one for one in marked):
                    return {ref: shredded[ref] for ref in refs}
                await asyncio.sleep(AGAIN_S)

    async def post(self, path: str, body: Any = None) -> Any:
        """Send one request; again while a killed process is away (the key makes it the same request)."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        async with asyncio.timeout(RETRIED_S):
            while True:
                try:
                    answer = await self.client.post(path, json=body, headers=headers)
                except httpx.TransportError:
                    await asyncio.sleep(AGAIN_S)
                    continue
                if answer.status_code != UNAVAILABLE:
                    answer.raise_for_status()
                    return answer.json()
                await asyncio.sleep(AGAIN_S)

    async def _lived(self, number: int) -> str:
        body = {
            "email": f"{self.marker}.{number}@example.kr",
            "password": f"{self.marker} battery {number}",
            "name": f"이름 {self.marker}",
            "profiles": [{"service": "wapl", "role": "member"}],
            "consents": {"collection": True, "sharing": True, "marketing": {"use": False}},
            "notice_version": "2021-02-22",
        }
        ref = str((await self.post("/v1/members", body))["member_ref"])
        await self.post(f"/v1/members/{ref}/records", {**RECORD, "fields": {"order_no": self.marker}})
        await self.post(f"/v1/members/{ref}/withdrawal")
        await self.post(f"/v1/members/{ref}/withdrawal/confirm")
        return ref


async def side_by_side(of: Iterable[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """Do this for each, `AT_ONCE` at a time; return what came of each, in order."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(value: T) -> R:
        async with slots:
            return await work(value)

    return list(await asyncio.gather(*map(one, of)))

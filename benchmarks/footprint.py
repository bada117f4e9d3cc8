"""What one sign-up and one later change cost: processor time by process, bytes by database and by topic.

docs/scaling.md multiplies these. Processor time is counted, not wall time: neighbours on the machine disturb it little.
Bytes are what the tables (indexes and all) and the topics' logs grew by, with three affiliates, one copy of each.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from benchmarks import servers, stages
from services.devstack.environment import ALL, PARTNER
from services.devstack.provision import AFFILIATES
from services.devstack.system import System
from services.runtime.settings import DATABASES

AT_ONCE = 4
SETTLE_TIMEOUT_S = 600.0
SIZE = """
SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
WAITING = """
SELECT (SELECT count(*) FROM delivery WHERE stage IN ('accepted', 'relayed'))
     + (SELECT count(*) FROM change WHERE sealed_at IS NULL)
"""
MEASURED = tuple(name for name in ALL if name != PARTNER)


async def measure(members: int, changes: int) -> dict[str, Any]:
    """Run on a fresh system; return per sign-up and per change: CPU milliseconds by process, bytes by place."""
    async with servers.system() as system:
        return {"members": members, "changes": changes, **await _both(system, members, changes)}


async def _both(system: System, members: int, changes: int) -> dict[str, Any]:
    described = system.described()
    headers = {"Authorization": f"Bearer {described['tokens']['service']}"}
    async with httpx.AsyncClient(base_url=described["consent_url"], headers=headers, timeout=60) as client:
        refs: list[str] = []

        async def join(_number: int) -> None:
            refs.append(await _sign_up(client))

        async def change(number: int) -> None:
            await _change(client, refs[number % len(refs)], number, members)

        return {
            "sign_up": await _cost(system, members, join),
            "change": await _cost(system, changes, change),
        }


async def _cost(system: System, count: int, one: Callable[[int], Awaitable[None]]) -> dict[str, Any]:
    """Do something `count` times and let everybody follow; return what it cost each time."""
    before = await _measured(system)
    gate = asyncio.Semaphore(AT_ONCE)

    async def gated(number: int) -> None:
        async with gate:
            await one(number)

    await asyncio.gather(*(gated(number) for number in range(count)))
    await _followed(system)
    after = await _measured(system)
    return {
        kind: {name: round((after[kind][name] - before[kind][name]) / count, 3) for name in after[kind]}
        for kind in after
    }


async def _measured(system: System) -> dict[str, dict[str, float]]:
    return {
        "cpu_ms": stages.processors(system, MEASURED),
        "database_bytes": await _databases(system),
        "topic_bytes": _topics(system),
    }


async def _databases(system: System) -> dict[str, float]:
    named = {name: system.installation.access.owner_dsn(name) for name in (*DATABASES, *AFFILIATES)}
    return {name: float(await _asked(dsn, SIZE)) for name, dsn in named.items()}


def _topics(system: System) -> dict[str, float]:
    """Bytes of the log segments by topic; index files are preallocated and left out."""
    found: dict[str, float] = {}
    for segment in (system.base_dir / "kafka" / "node-1").glob("dongui.*/*.log"):
        topic = segment.parent.name.rpartition("-")[0]
        found[topic] = found.get(topic, 0.0) + segment.stat().st_size
    return found


async def _followed(system: System) -> None:
    """Wait until every recipient has answered every change and the log has sealed it."""
    dsn = system.installation.access.owner_dsn("consent")
    async with asyncio.timeout(SETTLE_TIMEOUT_S):
        while await _asked(dsn, WAITING):
            await asyncio.sleep(0.5)


async def _asked(dsn: str, statement: str) -> Any:
    ((value,),) = await servers.fetch(dsn, statement)
    return value


async def _sign_up(client: httpx.AsyncClient) -> str:
    """Sign one member up with everything shared and one service."""
    body = {
        "email": f"{uuid.uuid4().hex}@example.kr",
        "password": uuid.uuid4().hex,
        "name": "성능 시험",
        "profiles": [{"service": "wapl", "role": "member", "title": "책임"}],
        "consents": {"collection": True, "sharing": True, "marketing": {"use": True, "email": True}},
        "notice_version": "2021-02-22",
    }
    answer = await client.post("/v1/members", json=body, headers={"Idempotency-Key": str(uuid.uuid4())})
    answer.raise_for_status()
    return str(answer.json()["member_ref"])


async def _change(client: httpx.AsyncClient, ref: str, number: int, members: int) -> None:
    """Correct a name, which every affiliate holds, or take back and give again the marketing consent of one."""
    headers = {"Idempotency-Key": str(uuid.uuid4()), "If-Match": "*"}
    if number % 2:
        answer = await client.patch(f"/v1/members/{ref}", json={"name": f"개명 {number}"}, headers=headers)
    else:
        given = bool(number // members % 2)
        body = {"granted": given, "channel": "use", "senders": ["tmax-os"], "notice_version": "2021-02-22"}
        answer = await client.put(f"/v1/members/{ref}/consents/marketing", json=body, headers=headers)
    answer.raise_for_status()


def table(result: dict[str, Any]) -> str:
    """Return the result for people."""
    lines = [f"{'':34}{'sign-up':>12}{'change':>12}"]
    for kind in ("cpu_ms", "database_bytes", "topic_bytes"):
        first, second = result["sign_up"][kind], result["change"][kind]
        lines += [f"{kind}: {n:<{32 - len(kind)}}{first.get(n, 0):>12.1f}{second[n]:>12.1f}" for n in sorted(second)]
        lines.append(f"{kind + ', all':34}{sum(first.values()):>12.1f}{sum(second.values()):>12.1f}")
    return "\n".join(lines) + "\n"

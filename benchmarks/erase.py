"""How fast members are destroyed, and how long until nothing of them is left anywhere, on a fresh system.

Everybody leaves and is destroyed by name (no day's wait). Beside it, in the same run and at the same pace, the bare
path: a record to each of three topics, consumed, COMMIT in each of three databases. Last, a smaller batch is destroyed
while processes are killed. At the end PostgreSQL is purged and every place is searched for the members' values.
"""

import asyncio
import secrets
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from benchmarks import bare
from benchmarks.latency import JARS, quantiles
from services.commands.purge import purge
from services.commands.scan_forms import Finder
from services.commands.scan_places import Report, search
from services.devstack.provision import AFFILIATES
from services.devstack.stack import Stack, to_stderr
from services.devstack.system import System
from services.runtime.settings import Settings

AT_ONCE = 4
KILLED = ("consent", "propagator-tmax-os", "retention")
KILLED_MEMBERS = 12
TIMEOUT_S = 600.0
DONE = "SELECT member_ref::text, extract(epoch FROM shredded_at)::float8 AS at FROM erasure WHERE state = 'erased'"
MARKED = "SELECT member_ref::text FROM suppressed"


@dataclass(frozen=True)
class Run:
    """One system under measurement; every value of its members holds `marker`."""

    system: System
    client: httpx.AsyncClient
    marker: str

    async def post(self, path: str, body: Any = None) -> Any:
        """Send one request; again while a killed process is away (the key makes it the same request)."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        async with asyncio.timeout(60):
            while True:
                try:
                    answer = await self.client.post(path, json=body, headers=headers)
                except httpx.TransportError:
                    await asyncio.sleep(0.2)
                    continue
                if answer.status_code != 503:
                    answer.raise_for_status()
                    return answer.json()
                await asyncio.sleep(0.2)


async def measure(members: int) -> dict[str, Any]:
    """Run all of it; return members per second, milliseconds, places, hits, kills, and the ratio to the bare path."""
    with tempfile.TemporaryDirectory(prefix="dongui-bench-") as folder:
        Path(folder).chmod(0o755)
        stack = Stack(Path(folder), jar_cache=JARS, say=to_stderr)
        await stack.start()
        system = System(Path(folder), stack=stack, say=to_stderr)
        try:
            await system.start()
            ours = await _ours(system, members)
            await system.stop()
            seconds = ours["erase_s"]
            reference = quantiles(await bare.measure(stack, members / seconds, seconds))
        finally:
            await system.stop()
            await stack.stop()
    ratios = {q: round(ours["erased_ms"][q] / reference[q], 2) for q in ("p50", "p99")}
    return {"members": members, **ours, "bare_ms": reference, "ratio": ratios}


async def _ours(system: System, members: int) -> dict[str, Any]:
    described = system.described()
    headers = {"Authorization": f"Bearer {described['tokens']['service']}"}
    limits = httpx.Limits(max_connections=20, keepalive_expiry=2.0)
    url = described["consent_url"]
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=30) as client:
        run = Run(system, client, f"zq{secrets.token_hex(8)}")
        before = await _searched(run)
        refs = await _side_by_side(range(members), lambda number: _lived(run, number))
        confirmed = time.time()
        erased = await _erased(run, refs)
        first = await _purged(run)
        gone_s = round(time.time() - confirmed, 1)
        kills = await _under_kills(run, members)
        last = await _purged(run)
        return {
            **erased,
            **kills,
            "places": last.places,
            "hits": sum(_hits(report) for report in (before, first, last)),
            "confirmed_to_last_trace_gone_s": gone_s,
        }


def _hits(report: Report) -> int:
    return sum(report.hits.values()) + sum(report.residue.values())


async def _purged(run: Run) -> Report:
    """Purge PostgreSQL, then search every place."""
    await purge(_settings(run.system))
    return await _searched(run)


async def _lived(run: Run, number: int) -> str:
    """Sign one up with everything shared and a statutory record, and let them leave."""
    body = {
        "email": f"{run.marker}.{number}@example.kr",
        "password": f"{run.marker} battery {number}",
        "name": f"이름 {run.marker}",
        "profiles": [{"service": "wapl", "role": "member"}],
        "consents": {"collection": True, "sharing": True, "marketing": {"use": False}},
        "notice_version": "2021-02-22",
    }
    ref = str((await run.post("/v1/members", body))["member_ref"])
    record = {"class": "payment", "occurred_at": "2026-01-05T10:00:00+09:00", "fields": {"order_no": run.marker}}
    await run.post(f"/v1/members/{ref}/records", record)
    await run.post(f"/v1/members/{ref}/withdrawal")
    await run.post(f"/v1/members/{ref}/withdrawal/confirm")
    return ref


async def _erased(run: Run, refs: list[str]) -> dict[str, Any]:
    """Ask for every destruction by name; milliseconds from the request to the key's shred, behind all stores."""
    asked: dict[str, float] = {}

    async def ask(ref: str) -> None:
        asked[ref] = time.time()
        await run.post(f"/v1/erasures/{ref}/execute")

    started = time.time()
    await _side_by_side(refs, ask)
    done = await _all_done(run, refs)
    took = max(done.values()) - started
    each = [1000 * (done[ref] - at) for ref, at in asked.items()]
    return {"erase_s": round(took, 2), "members_per_s": round(len(refs) / took, 2), "erased_ms": quantiles(each)}


async def _under_kills(run: Run, after: int) -> dict[str, int]:
    """Destroy a smaller batch while one process after the other is killed; all must end erased."""
    refs = await _side_by_side(range(after, after + KILLED_MEMBERS), lambda number: _lived(run, number))
    asking = asyncio.create_task(_side_by_side(refs, lambda ref: run.post(f"/v1/erasures/{ref}/execute")))
    for name in KILLED:
        await asyncio.sleep(0.5)
        run.system.kill(name)
        run.system.start_process(name)
        await run.system.wait_ready(name)
    await asking
    done = await _all_done(run, refs)
    return {"kills": len(KILLED), "kills_survived": len(KILLED) if len(done) == len(refs) else 0}


async def _all_done(run: Run, refs: list[str]) -> dict[str, float]:
    """Wait until each key is shredded and each store refuses the reference; return the instants of the shreds."""
    wanted = set(refs)
    dsns = run.system.installation.owner_dsns()
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            shredded = {row["member_ref"]: row["at"] for row in await _rows(dsns["consent"], DONE)}
            marked = [{row["member_ref"] for row in await _rows(dsns[a], MARKED)} for a in AFFILIATES]
            if wanted <= shredded.keys() and all(wanted <= one for one in marked):
                return {ref: shredded[ref] for ref in refs}
            await asyncio.sleep(0.2)


async def _rows(dsn: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def _side_by_side(of: Any, work: Any) -> list[Any]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(value: Any) -> Any:
        async with slots:
            return await work(value)

    return list(await asyncio.gather(*map(one, of)))


async def _searched(run: Run) -> Report:
    return await search(_settings(run.system), Finder([run.marker]), [f"{run.system.url('notices')}/metrics"])


def _settings(system: System) -> Settings:
    told = system.described()
    return Settings(
        profile="dev",
        data_dir=system.base_dir,
        kafka=told["kafka"],
        consent_url=told["consent_url"],
        audit_url=told["audit_url"],
        retention_url=told["retention_url"],
        owner_dsns=system.installation.owner_dsns(),
    )


def table(result: dict[str, Any]) -> str:
    """Return the result as a table for people."""
    rows = [("asked to key shredded, all stores erased", result["erased_ms"])]
    rows.append(("bare produce, consume, COMMIT, same pace", result["bare_ms"]))
    lines = [f"{'milliseconds':<44}{'p50':>9}{'p99':>10}{'max':>10}"]
    lines += [f"{name:<44}{q['p50']:>9}{q['p99']:>10}{q['max']:>10}" for name, q in rows]
    lines.append(f"{'ratio to the bare path':<44}{result['ratio']['p50']:>9}{result['ratio']['p99']:>10}")
    lines += [
        f"{result['members']} members destroyed in {result['erase_s']} s: {result['members_per_s']}/s",
        f"{result['kills_survived']} of {result['kills']} kills survived",
        f"{result['places']} places searched after the purge: {result['hits']} hits",
        f"withdrawals confirmed to last trace gone (purged, searched): {result['confirmed_to_last_trace_gone_s']} s",
        f"Python {sys.version.split()[0]}",
    ]
    return "\n".join(lines) + "\n"

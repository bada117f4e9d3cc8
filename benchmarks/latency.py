"""From the HTTP answer of a sign-up to the COMMIT of the last of three affiliates, under a fixed rate of changes.

One change in five is a sign-up; the others correct a name, or give or take back a marketing consent, of members that
were there before. Changes leave on schedule whether or not the last one was answered (open loop), so a stall shows.
Commit times are PostgreSQL's own (`track_commit_timestamp`), on the clock that stamps the answers: one machine. Beside
it, in the same run and at the same rate, the bare path: idempotent produce, aiokafka, asyncpg COMMIT, three topics to
three databases.
"""

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from benchmarks import bare, stages
from services.devstack.environment import ALL
from services.devstack.provision import AFFILIATES
from services.devstack.stack import Stack, to_stderr
from services.devstack.system import System

MEMBERS_BEFORE = 100
SIGN_UP_EVERY = 5
MARKETING_EVERY = 2
SETTLE_TIMEOUT_S = 60.0
IDLE_S = 5.0
JARS = Path(__file__).resolve().parents[1] / ".dongui" / "jars"
COMMITTED = """
SELECT member_ref::text, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at FROM member
"""


async def measure(rate: float, seconds: float) -> dict[str, Any]:
    """Run both paths on a fresh system; return milliseconds, and ratios to the bare path."""
    with tempfile.TemporaryDirectory(prefix="dongui-bench-") as folder:
        Path(folder).chmod(0o755)
        stack = Stack(Path(folder), jar_cache=JARS, say=to_stderr, postgres_settings={"track_commit_timestamp": "on"})
        await stack.start()
        system = System(Path(folder), stack=stack, say=to_stderr)
        try:
            await system.start()
            ours = await _ours(system, rate, seconds)
            await system.stop()
            reference = quantiles(await bare.measure(stack, rate, seconds))
        finally:
            await system.stop()
            await stack.stop()
    ratios = {q: round(ours["to_last_commit_ms"][q] / reference[q], 2) for q in ("p50", "p99")}
    return {"rate": rate, "seconds": seconds, **ours, "bare_ms": reference, "ratio": ratios}


async def _ours(system: System, rate: float, seconds: float) -> dict[str, Any]:
    described = system.described()
    headers = {"Authorization": f"Bearer {described['tokens']['service']}"}
    limits = httpx.Limits(max_connections=100, keepalive_expiry=2.0)  # the server closes idle ones after 5 s
    async with httpx.AsyncClient(
        base_url=described["consent_url"], headers=headers, limits=limits, timeout=30
    ) as client:
        before = [(await _sign_up(client))[0] for _ in range(MEMBERS_BEFORE)]
        await asyncio.sleep(IDLE_S)
        idle = stages.processors(system, ALL)
        await asyncio.sleep(IDLE_S)
        started, began = stages.processors(system, ALL), time.monotonic()
        sign_ups, others = await _paced(client, rate, seconds, before)
    refs = {ref for ref, _, _ in sign_ups}
    committed = await _committed(described["databases"]["affiliates"], refs)
    idled, ended = (time.monotonic() - began) / IDLE_S, stages.processors(system, ALL)
    cpu_ms = {n: ended[n] - started[n] - idled * (started[n] - idle[n]) for n in ended}
    produced = await stages.produced(described["kafka"], AFFILIATES)
    to_last = [1000 * (max(c[ref] for c in committed) - at) for ref, _, at in sign_ups]
    return {
        "changes": len(sign_ups) + len(others),
        "sign_ups": len(sign_ups),
        "sign_up_http_ms": quantiles([1000 * (at - sent) for _, sent, at in sign_ups]),
        "other_http_ms": quantiles([1000 * (at - sent) for _, sent, at in others]),
        "to_last_commit_ms": quantiles(to_last),
        "to_last_produced_ms": quantiles([1000 * (max(p[ref] for p in produced) - at) for ref, _, at in sign_ups]),
        "produced_to_commit_ms": quantiles(
            [1000 * max(c[ref] - p[ref] for c, p in zip(committed, produced, strict=True)) for ref in refs]
        ),
        "cpu_ms_a_change": {n: round(ms / (rate * seconds), 2) for n, ms in sorted(cpu_ms.items())},
        "cpu_idle": {n: round((started[n] - idle[n]) / IDLE_S / 1000, 3) for n in sorted(idle)},
    }


Answered = tuple[str, float, float]
"""(member_ref, sent at, answered at), in Unix seconds."""


async def _paced(
    client: httpx.AsyncClient, rate: float, seconds: float, before: list[str]
) -> tuple[list[Answered], list[Answered]]:
    """Send changes on schedule; return what was answered: sign-ups, and changes of the members `before`."""
    loop = asyncio.get_running_loop()
    start, sign_ups, others = loop.time(), [], []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
        if number % SIGN_UP_EVERY == 0:
            sign_ups.append(asyncio.create_task(_sign_up(client)))
        else:
            others.append(asyncio.create_task(_change(client, before[number % len(before)], number)))
    return list(await asyncio.gather(*sign_ups)), list(await asyncio.gather(*others))


async def _change(client: httpx.AsyncClient, ref: str, number: int) -> Answered:
    """Correct a member's name, or give or take back the consent to the use for marketing."""
    headers = {"If-Match": "*", "Idempotency-Key": str(uuid.uuid4())}
    sent = time.time()
    if number % MARKETING_EVERY:
        body: dict[str, Any] = {"name": f"개명 {number}"}
        answer = await client.patch(f"/v1/members/{ref}", json=body, headers=headers)
    else:
        given = number // MEMBERS_BEFORE % 2 == 0
        body = {"granted": given, "channel": "use", "senders": [AFFILIATES[0]], "notice_version": "2021-02-22"}
        answer = await client.put(f"/v1/members/{ref}/consents/marketing", json=body, headers=headers)
    at = time.time()
    answer.raise_for_status()
    return ref, sent, at


async def _sign_up(client: httpx.AsyncClient) -> Answered:
    """Sign one member up with everything shared."""
    body = {
        "email": f"{uuid.uuid4().hex}@example.kr",
        "password": uuid.uuid4().hex,
        "name": "성능 시험",
        "profiles": [{"service": "wapl", "role": "member"}],
        "consents": {"collection": True, "sharing": True, "marketing": {"use": False}},
        "notice_version": "2021-02-22",
    }
    sent = time.time()
    answer = await client.post("/v1/members", json=body, headers={"Idempotency-Key": str(uuid.uuid4())})
    at = time.time()
    answer.raise_for_status()
    return answer.json()["member_ref"], sent, at


async def _committed(dsns: dict[str, str], refs: set[str]) -> list[dict[str, float]]:
    """Wait until every store has every member; return the commit time of each by store."""
    connections = [await asyncpg.connect(dsns[a]) for a in AFFILIATES]
    try:
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            while True:
                found = [{r["member_ref"]: r["at"] for r in await c.fetch(COMMITTED)} for c in connections]
                if all(refs <= f.keys() for f in found):
                    return found
                await asyncio.sleep(0.5)
    finally:
        for connection in connections:
            await connection.close()


def quantiles(values: list[float]) -> dict[str, float]:
    """Return median, 99th percentile and maximum, rounded to 0.1."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1), "max": round(max(values), 1)}


def table(result: dict[str, Any]) -> str:
    """Return the result as a table for people."""
    rows = [
        ("HTTP answer of a sign-up", result["sign_up_http_ms"]),
        ("HTTP answer of another change", result["other_http_ms"]),
        ("2xx to the last affiliate's COMMIT", result["to_last_commit_ms"]),
        ("  2xx to the last record's produce", result["to_last_produced_ms"]),
        ("  produce to COMMIT, slowest store", result["produced_to_commit_ms"]),
        ("bare produce, consume, COMMIT", result["bare_ms"]),
    ]
    lines = [f"{'milliseconds':<38}{'p50':>8}{'p99':>9}{'max':>9}"]
    lines += [f"{name:<38}{q['p50']:>8}{q['p99']:>9}{q['max']:>9}" for name, q in rows]
    lines.append(f"{'ratio to the bare path':<38}{result['ratio']['p50']:>8}{result['ratio']['p99']:>9}")
    lines.append(f"{'processor ms a change; cores when idle':<38}")
    lines += [
        f"  {name:<36}{spent:>8}{result['cpu_idle'][name]:>9}" for name, spent in result["cpu_ms_a_change"].items()
    ]
    made = f"{result['changes']} changes at {result['rate']:g}/s, {result['sign_ups']} of them sign-ups"
    lines.append(f"{made}; Python {sys.version.split()[0]}")
    return "\n".join(lines) + "\n"

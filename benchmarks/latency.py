"""From the HTTP answer of a change to the COMMIT of the last of three affiliates, under a fixed rate of changes.

Some changes are sign-ups, the others correct the name of a member who was there before, each member once: every change
goes to every store. Changes leave on schedule whether or not the last one was answered (open loop), so a stall shows,
and what HTTP takes counts from when a change was due. A change refused for want of room (503) is counted and not sent
again. Commit times are PostgreSQL's own (`track_commit_timestamp`), on the clock that stamps the answers: one machine.
Beside it, in the same run and at the same rate, the bare path: idempotent produce, aiokafka, asyncpg COMMIT, three
topics to three databases.
"""

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from benchmarks import bare, http, members, servers, stages
from benchmarks.load import Connections
from benchmarks.servers import Servers
from services.devstack.environment import ALL
from services.devstack.provision import AFFILIATES
from services.devstack.stack import Stack, to_stderr
from services.devstack.system import System

REFUSED = 503
SETTLE_TIMEOUT_S = 300.0
IDLE_S = 5.0
JARS = Path(__file__).resolve().parents[1] / ".dongui" / "jars"
COMMITTED = """
SELECT member_ref::text, seq, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at FROM member
"""
REFS = "SELECT member_ref::text FROM member ORDER BY member_ref"


class Answered(NamedTuple):
    """A change that was accepted: its member and number, and the Unix seconds at which it was due and answered."""

    ref: str
    seq: int
    due: float
    at: float

    @property
    def http_ms(self) -> float:
        """Milliseconds from when it was due to its answer."""
        return 1000 * (self.at - self.due)


@dataclass
class Answers:
    """What became of the changes that were sent."""

    sign_ups: list[Answered]
    corrections: list[Answered]
    refused: int = 0

    @property
    def all(self) -> list[Answered]:
        """Everything that was accepted."""
        return [*self.sign_ups, *self.corrections]


async def measure(rate: float, seconds: float, sign_up_every: int) -> dict[str, Any]:
    """Run both paths on a fresh system; return milliseconds, and ratios to the bare path."""
    with tempfile.TemporaryDirectory(prefix="dongui-bench-") as folder:
        Path(folder).chmod(0o755)
        stack = Stack(Path(folder), jar_cache=JARS, say=to_stderr, postgres_settings={"track_commit_timestamp": "on"})
        await stack.start()
        system = System(Path(folder), stack=stack, say=to_stderr)
        try:
            await system.start()
            ours = await _ours(system, rate, seconds, sign_up_every)
            await system.stop()
            reference = quantiles(await bare.measure(stack, rate, seconds))
        finally:
            await system.stop()
            await stack.stop()
    ratios = {q: round(ours["to_last_commit_ms"][q] / reference[q], 2) for q in ("p50", "p99")}
    return {"rate": rate, "seconds": seconds, **ours, "bare_ms": reference, "ratio": ratios}


async def _ours(system: System, rate: float, seconds: float, sign_up_every: int) -> dict[str, Any]:
    described = system.described()
    stores = [described["databases"]["affiliates"][a] for a in AFFILIATES]
    count = int(rate * seconds)
    made = _requests(count, sign_up_every, await _members(system, count, stores), described["tokens"]["service"])
    await asyncio.sleep(IDLE_S)
    idle = stages.processors(system, ALL)
    await asyncio.sleep(IDLE_S)
    started, began = stages.processors(system, ALL), time.monotonic()
    answers = await _sent(urlsplit(described["consent_url"]).port or 0, made, rate)
    took_s = time.monotonic() - began
    committed = await _committed(stores, answers.all)
    idled, ended = (time.monotonic() - began) / IDLE_S, stages.processors(system, ALL)
    cpu_ms = {n: ended[n] - started[n] - idled * (started[n] - idle[n]) for n in ended}
    produced = await stages.produced(described["kafka"], AFFILIATES)
    last = {(a.ref, a.seq): max(p[a.ref, a.seq] for p in produced) for a in answers.all}
    return {
        "changes": count,
        "accepted_per_s": round(len(answers.all) / took_s, 1),
        "refused": answers.refused,
        "sign_ups": len(answers.sign_ups),
        "sign_up_http_ms": quantiles([a.http_ms for a in answers.sign_ups]),
        "correction_http_ms": quantiles([a.http_ms for a in answers.corrections]),
        "to_last_commit_ms": quantiles([1000 * (committed[a.ref, a.seq] - a.at) for a in answers.all]),
        "to_last_produced_ms": quantiles([1000 * (last[a.ref, a.seq] - a.at) for a in answers.all]),
        "produced_to_commit_ms": quantiles([1000 * (committed[key] - at) for key, at in last.items()]),
        "cpu_ms_a_change": {n: round(ms / len(answers.all), 2) for n, ms in sorted(cpu_ms.items())},
        "cpu_idle": {n: round((started[n] - idle[n]) / IDLE_S / 1000, 3) for n in sorted(idle)},
    }


async def _members(system: System, count: int, stores: list[str]) -> list[str]:
    """Import a member for each change, and wait until every store has all of them."""
    on = Servers(system.stack, system.installation.access, system.base_dir)
    await members.sign_up(on, count)
    async with asyncio.timeout(SETTLE_TIMEOUT_S):
        while min([len(await servers.fetch(store, REFS)) for store in stores]) < count:
            await asyncio.sleep(0.5)
    return [row["member_ref"] for row in await servers.fetch(on.admin_dsn("consent"), REFS)]


Request = tuple[str, bytes]
"""The member that is changed (empty: a new one), and the request."""


def _requests(count: int, sign_up_every: int, refs: list[str], token: str) -> list[Request]:
    """Return what will be sent: every `sign_up_every`th a sign-up (0: none), else a correction of a name."""
    known = {"Authorization": f"Bearer {token}"}

    def one(number: int) -> Request:
        headers = known | {"Idempotency-Key": str(uuid.uuid4())}
        if sign_up_every and number % sign_up_every == 0:
            return "", http.sign_up(f"{uuid.uuid4().hex}@example.kr", headers)
        return refs[number], http.correct(refs[number], headers | {"If-Match": "*"})

    return [one(number) for number in range(count)]


async def _sent(port: int, made: list[Request], rate: float) -> Answers:
    """Send requests on schedule; return what was answered."""
    loop, connections, answers = asyncio.get_running_loop(), Connections(port), Answers([], [])
    start, wall = loop.time(), time.time()
    async with asyncio.TaskGroup() as group:
        for number, (ref, request) in enumerate(made):
            await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
            group.create_task(_send(connections, answers, ref, request, wall + number / rate))
    connections.close()
    return answers


async def _send(connections: Connections, answers: Answers, ref: str, request: bytes, due: float) -> None:
    status, body = await connections.send(request)
    at = time.time()
    if status == REFUSED:
        answers.refused += 1
    elif status >= 300:
        raise RuntimeError(f"the server answered {status}: {body[:500].decode(errors='replace')}")
    else:
        told = orjson.loads(body)
        answer = Answered(ref or told["member_ref"], told["seq"], due, at)
        (answers.corrections if ref else answers.sign_ups).append(answer)


async def _committed(stores: list[str], answers: list[Answered]) -> dict[tuple[str, int], float]:
    """Wait until every store has every change; return the commit time in the last store by (member, seq)."""
    wanted = {(a.ref, a.seq) for a in answers}
    async with asyncio.timeout(SETTLE_TIMEOUT_S):
        while True:
            rows = [await servers.fetch(store, COMMITTED) for store in stores]
            found = [{(row["member_ref"], row["seq"]): row["at"] for row in store} for store in rows]
            if all(wanted <= store.keys() for store in found):
                return {key: max(store[key] for store in found) for key in wanted}
            await asyncio.sleep(0.5)


def quantiles(values: list[float]) -> dict[str, float]:
    """Return median, 99th percentile and maximum, rounded to 0.1; nothing of fewer than two."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1), "max": round(max(values), 1)}


def table(result: dict[str, Any]) -> str:
    """Return the result as a table for people."""
    rows = [
        ("HTTP answer of a sign-up", result["sign_up_http_ms"]),
        ("HTTP answer of a correction", result["correction_http_ms"]),
        ("2xx to the last affiliate's COMMIT", result["to_last_commit_ms"]),
        ("  2xx to the last record's produce", result["to_last_produced_ms"]),
        ("  produce to COMMIT, slowest store", result["produced_to_commit_ms"]),
        ("bare produce, consume, COMMIT", result["bare_ms"]),
    ]
    lines = [f"{'milliseconds':<38}{'p50':>8}{'p99':>9}{'max':>9}"]
    lines += [f"{name:<38}{q['p50']:>8}{q['p99']:>9}{q['max']:>9}" for name, q in rows if q]
    lines.append(f"{'ratio to the bare path':<38}{result['ratio']['p50']:>8}{result['ratio']['p99']:>9}")
    lines.append(f"{'processor ms a change; cores when idle':<38}")
    lines += [
        f"  {name:<36}{spent:>8}{result['cpu_idle'][name]:>9}" for name, spent in result["cpu_ms_a_change"].items()
    ]
    made = f"{result['changes']} changes asked for at {result['rate']:g}/s, {result['accepted_per_s']}/s accepted"
    kinds = f"{result['sign_ups']} sign-ups, {result['refused']} refused"
    lines.append(f"{made} ({kinds}); Python {sys.version.split()[0]}")
    return "\n".join(lines) + "\n"

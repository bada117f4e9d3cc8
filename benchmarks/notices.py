"""Do dead third parties slow the living? 10,000 notices to 50 receivers, first all alive, then ten of them dead.

Notices come at a fixed rate (open loop) over the real topic into the real notices process. What is measured is the
time from the broker's acknowledgement of a notice to its arrival at its third party, for the 40 that live in both
runs. Ten dead: no listener, no answer, or 500, of each kind in turn.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaProducer

from benchmarks.crowd import Crowd, Sealed, key_service, sealed
from benchmarks.latency import JARS, quantiles
from schemas.topics import NOTICES, all_topics
from services.devstack import topics
from services.devstack.environment import inherited
from services.devstack.provision import AFFILIATES, Access, migrate_one, provision
from services.devstack.stack import Stack, to_stderr
from services.runtime.clock import utc_now

SETTLE_S = 60.0
WARM_UP_S = 30.0
COUNTS = "SELECT count(*) FILTER (WHERE recipient = ANY($1) AND state = 'acknowledged') FROM notice"
ATTEMPTS = "SELECT count(*) FROM attempt JOIN notice USING (position) WHERE NOT recipient = ANY($1)"


async def measure(notices: int, rate: float, receivers: int, dead: int) -> dict[str, Any]:
    """Run twice on fresh databases; return milliseconds of the living, and the ratio of the two runs."""
    with tempfile.TemporaryDirectory(prefix="dongui-bench-") as folder:
        Path(folder).chmod(0o755)
        stack = Stack(Path(folder), jar_cache=JARS, say=to_stderr)
        await stack.start()
        try:
            alive = await _run(stack, "a", Crowd.of(receivers, 0), notices, rate, receivers - dead)
            with_dead = await _run(stack, "b", Crowd.of(receivers - dead, dead), notices, rate, receivers - dead)
        finally:
            await stack.stop()
    quiet, loud = alive["to_arrival_ms"], with_dead["to_arrival_ms"]
    ratio = {q: round(loud[q] / quiet[q], 2) for q in quiet}
    given = {"notices": notices, "rate": rate, "receivers": receivers, "dead": dead}
    return {**given, "all_alive": alive, "with_dead": with_dead, "ratio": ratio}


async def _run(stack: Stack, run: str, crowd: Crowd, notices: int, rate: float, watched: int) -> dict[str, Any]:
    access = Access.load(stack.postgres, stack.base_dir / "secrets" / "databases.json", ["notices"])
    database, prefix = f"notices_{run}", f"{run}-"
    await _database(access, database)
    await topics.create(stack.bootstrap, all_topics(AFFILIATES), prefix=prefix)
    names = list(crowd.ports)
    living = names[:watched]
    made = sealed((names[i % len(names)] for i in range(notices)), utc_now())
    dsn = access.dsn("notices", database)
    async with crowd.listening(), key_service() as keys, _process(stack, dsn, prefix, keys, crowd):
        published = await _paced(stack.bootstrap, prefix + NOTICES, made, rate)
        acknowledged, attempts = await _settled(dsn, living, sum(m.notice.recipient in living for m in made))
    return _figures(crowd, made, published, living) | {"acknowledged": acknowledged, "attempts_to_dead": attempts}


async def _database(access: Access, database: str) -> None:
    await provision(access, ["notices"])
    connection = await asyncpg.connect(access.admin_dsn)
    try:
        await connection.execute(f'CREATE DATABASE {database} OWNER "notices_owner"')
    finally:
        await connection.close()
    await migrate_one(access, "notices", database)


@asynccontextmanager
async def _process(stack: Stack, dsn: str, prefix: str, keys: str, crowd: Crowd) -> AsyncIterator[None]:
    """The real sender, ready."""
    seed = stack.base_dir / "webhook.key"
    seed.write_bytes(bytes(range(32)))
    variables = {
        "DONGUI_PROFILE": "dev",
        "DONGUI_KAFKA": stack.bootstrap,
        "DONGUI_TOPIC_PREFIX": prefix,
        "DONGUI_NOTICES_DSN": dsn,
        "DONGUI_NOTICES_TOKEN": "the-notices-token",
        "DONGUI_CONSENT_URL": keys,
        "DONGUI_WEBHOOK_SIGNING_KEY_FILE": str(seed),
        "DONGUI_THIRD_PARTIES": json.dumps(crowd.settings()),
        "DONGUI_DATA_DIR": str(stack.base_dir / f"{prefix}data"),
        "DONGUI_LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, "-m", "services.propagator", "--notices"]
    process = await asyncio.create_subprocess_exec(*command, env=inherited() | variables)
    try:
        await _warm_up(stack.bootstrap, prefix, crowd)
        yield
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 20)


async def _warm_up(bootstrap: str, prefix: str, crowd: Crowd) -> None:
    """Wait until the process tells a first notice."""
    first = crowd.living()[0]
    await _paced(bootstrap, prefix + NOTICES, sealed([first], utc_now()), 1000)
    async with asyncio.timeout(WARM_UP_S):
        while not crowd.arrivals[first]:
            await asyncio.sleep(0.05)


async def _paced(bootstrap: str, topic: str, made: Sequence[Sealed], rate: float) -> dict[str, float]:
    """Publish on schedule; return when the broker acknowledged each notice, in Unix seconds."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    await producer.start()
    published: dict[str, float] = {}

    async def one(notice: Sealed) -> None:
        key = notice.notice.member_ref.encode()
        await producer.send_and_wait(topic, value=notice.value, key=key, headers=notice.headers)
        published[notice.notice.notice_id] = time.time()

    loop = asyncio.get_running_loop()
    start, tasks = loop.time(), []
    try:
        for number, notice in enumerate(made):
            await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
            tasks.append(asyncio.create_task(one(notice)))
        await asyncio.gather(*tasks)
    finally:
        await producer.stop()
    return published


async def _settled(dsn: str, living: list[str], owed: int) -> tuple[int, int]:
    """Wait until the living have answered everything, or long enough; return answered, and attempts at the others."""
    connection = await asyncpg.connect(dsn)
    deadline = asyncio.get_running_loop().time() + SETTLE_S
    try:
        while (answered := await connection.fetchval(COUNTS, living)) < owed:
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.5)
        return answered, await connection.fetchval(ATTEMPTS, living)
    finally:
        await connection.close()


def _figures(crowd: Crowd, made: Sequence[Sealed], published: dict[str, float], living: list[str]) -> dict[str, Any]:
    arrived = {n: times for name in living for n, times in crowd.arrivals[name].items() if n in published}
    owed = [m.notice.notice_id for m in made if m.notice.recipient in living]
    waits = [1000 * max(0.0, arrived[n][0] - published[n]) for n in owed if n in arrived]
    return {
        "to_the_living": len(owed),
        "lost": len(owed) - len(waits),
        "duplicates": sum(len(times) - 1 for times in arrived.values()),
        "to_arrival_ms": quantiles(waits),
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as a table for people."""
    rows = (("all alive", result["all_alive"]), (f"{result['dead']} dead", result["with_dead"]))
    columns = ("answered", "lost", "duplicates", "at the others")
    lines = [f"{'milliseconds, 40 that live':<28}{'p50':>9}{'p99':>9}{'max':>9}" + "".join(f"{c:>15}" for c in columns)]
    lines[0] = lines[0].replace("40 that live", f"{result['receivers'] - result['dead']} that live")
    for name, found in rows:
        ms = found["to_arrival_ms"]
        counts = (found["acknowledged"], found["lost"], found["duplicates"], found["attempts_to_dead"])
        lines.append(
            f"{name:<28}{ms['p50']:>9}{ms['p99']:>9}{ms['max']:>9}" + "".join(f"{count:>15}" for count in counts)
        )
    ratio = result["ratio"]
    lines.append(f"{'ratio':<28}{ratio['p50']:>9}{ratio['p99']:>9}{ratio['max']:>9}")
    lines.append(f"{result['notices']} notices at {result['rate']:g}/s to {result['receivers']} receivers, twice")
    return "\n".join(lines) + "\n"

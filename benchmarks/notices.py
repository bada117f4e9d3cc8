"""How fast notices are told to third parties, all of which live, beside a bare process of the same topology.

A backlog, each notice about a member of its own, round the receivers in turn. Ours is the real notices process (keys,
JWE, signature, lease, circuit, evidence, receipt); the bound, `notices_bound`, reads the same in clear, inserts,
posts and marks them. Both have the same receivers, which run in the process of the measurement, and are timed from the
first arrival at one of them to the last notice acknowledged in the database; what was taken in before the first was
told is not timed, on either side. After every run each notice must have arrived once and be acknowledged once.

Statements are counted over the whole life of the process, which ends when its receipts have come back. Of 6.7 a notice
6 are the transaction that records its answer and 0.3 the claims, at any speed; what is asked by the clock is so little
that a run three times as slow had 1 % more.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import orjson

from benchmarks import harness, notices_bound, servers, telling, watch
from benchmarks.crowd import Crowd, Sealed, key_service, sealed
from benchmarks.harness import Run
from benchmarks.servers import Servers, connected, cpu_s
from benchmarks.telling import DATABASE
from benchmarks.watch import Process
from schemas.topics import NOTICES
from services.propagator.notices import model
from services.runtime.clock import utc_now

WARM_UP = 1
CLEAR, SEALED = "clear-", "sealed{}-"
"""Prefixes of topics; of those of sealed notices, one for each run."""
ONCE = "SELECT count(*) FROM notice WHERE state = 'acknowledged' AND attempts = 1"
FOUND = f"SELECT count(*), ({ONCE}) FROM notice"
EVIDENCE = "SELECT (SELECT count(*) FROM attempt), (SELECT count(*) FROM said), (SELECT count(*) FROM answer)"
BACK = "SELECT least((SELECT count(*) FROM answer), (SELECT count(published_at) FROM outbox))"
"""Receipts that the process has published, marked and read again: then it writes nothing more."""


async def measure(notices: int, receivers: int, runs: int) -> dict[str, Any]:
    """Return both rates in notices a second, their ratio, and what one notice costs in statements, rows and bytes."""
    crowd = Crowd.of(receivers, 0)
    crowd.clock = time.perf_counter
    made = sealed(itertools.islice(itertools.cycle(crowd.ports), notices), utc_now())
    async with servers.running([DATABASE]) as on, crowd.listening(), key_service() as keys:
        bench = _Bench(on, crowd, keys, made)
        await bench.fill(WARM_UP + runs)
        figures = await harness.compare(bench.ours, bench.bare, runs=runs, warm_up=WARM_UP)
    return {
        "name": "notices",
        "event": "notices",
        "bound_is": "bare aiokafka + asyncpg + aiohttp",
        "workload": {"notices": notices, "receivers": receivers},
        "counters": bench.counters,
        **figures,
    }


class _Bench:
    """One backlog, told again and again out of fresh databases."""

    def __init__(self, on: Servers, crowd: Crowd, keys: str, made: Sequence[Sealed]) -> None:
        self._on = on
        self._crowd = crowd
        self._keys = keys
        self._made = made
        self._body_bytes = sum(len(model.body_of(m.notice)) for m in made)
        self._ours, self._bare = itertools.count(), itertools.count()
        self.counters: dict[str, float] = {}

    async def fill(self, rounds: int) -> None:
        """Publish the notices in clear, and sealed for each run: answers to another run's would end its own."""
        clear = [replace(m, value=orjson.dumps(m.notice.model_dump(mode="json"))) for m in self._made]
        backlogs = {CLEAR: clear} | {SEALED.format(number): self._made for number in range(rounds)}
        for prefix in backlogs:
            await telling.make_topics(self._on, prefix)
        for prefix, made in backlogs.items():
            await telling.publish(self._on.stack.bootstrap, prefix + NOTICES, made)

    async def ours(self) -> Run:
        """The real process, with topics and a database of its own."""
        number = next(self._ours)
        database, prefix = f"ours{number}", SEALED.format(number)
        dsn = await self._on.database(DATABASE, database)
        process = telling.process(self._on, self._crowd, keys=self._keys, prefix=prefix, database=database)
        run = await self._told(process, dsn, BACK)
        (evidence,) = await servers.fetch(dsn, EVIDENCE)
        if tuple(evidence) != (run.events,) * 3:
            raise AssertionError(f"attempts, receipts and answers are {tuple(evidence)}")
        counted = {"statements": await self._on.statements(database), "rows": await self._on.rows(database)}
        self.counters = {name: round(count / run.events, 3) for name, count in counted.items()}
        self.counters["bytes"] = round(self._crowd.body_bytes / run.events, 1)
        return run

    async def bare(self) -> Run:
        """The bare process, in a group and a table of its own."""
        database = f"bare{next(self._bare)}"
        dsn = await self._on.database("template1", database)
        await servers.execute(dsn, notices_bound.TABLE)
        urls = orjson.dumps({name: told["url"] for name, told in self._crowd.settings().items()}).decode()
        where = [self._on.stack.bootstrap, CLEAR + NOTICES, self._on.access.dsn(DATABASE, database), urls]
        return await self._told(Process(["-m", "benchmarks.notices_bound", *where], {}), dsn)

    async def _told(self, process: Process, dsn: str, settled: str = ONCE) -> Run:
        """Run a process until `settled` counts every notice; raise when not each was told and acknowledged once."""
        self._crowd.forget()
        async with connected(dsn) as store, watch.running({"told": process}) as pids:
            async with asyncio.timeout(watch.TIMEOUT_S):
                run = await self._timed(store, pids)
                await self._until(store, settled, pids)
        self._check_arrivals()
        (found,) = await servers.fetch(dsn, FOUND)
        if tuple(found) != (run.events, run.events):
            raise AssertionError(f"notices, and those acknowledged once, are {tuple(found)}")
        return run

    async def _timed(self, store: asyncpg.Connection, pids: Sequence[int]) -> Run:
        """Wait from the first arrival to the last acknowledgement, asking the database only when all have arrived."""
        (pid,) = pids
        while not self._arrivals():
            await watch.pause(pids)
        cpu = cpu_s(pid)
        while len(self._arrivals()) < len(self._made):
            await watch.pause(pids)
        await self._until(store, ONCE, pids)
        return Run(len(self._made), time.perf_counter() - min(self._arrivals()), cpu_s(pid) - cpu)

    async def _until(self, store: asyncpg.Connection, count: str, pids: Sequence[int]) -> None:
        while await store.fetchval(count) < len(self._made):
            await watch.pause(pids)

    def _arrivals(self) -> list[float]:
        return [at for told in self._crowd.arrivals.values() for times in told.values() for at in times]

    def _check_arrivals(self) -> None:
        """Every notice came to its receiver, once, with the body that ours posts."""
        arrived = {(name, i): len(at) for name, told in self._crowd.arrivals.items() for i, at in told.items()}
        if arrived != dict.fromkeys(((m.notice.recipient, m.notice.notice_id) for m in self._made), 1):
            raise AssertionError(f"{len(arrived)} of {len(self._made)} notices arrived, {sum(arrived.values())} times")
        if self._crowd.body_bytes != self._body_bytes:
            raise AssertionError(f"bodies are of {self._crowd.body_bytes} bytes instead of {self._body_bytes}")

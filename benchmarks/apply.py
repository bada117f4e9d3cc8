"""How fast three affiliates' propagators work off a backlog, against the same SQL with nothing of ours around it.

The same sealed records in every run: `members` members, each signed up and then corrected. Ours are the real
processes (JWE, watermarks, gaps, receipts through the outbox); the bound is a bare aiokafka consumer in one process
per affiliate that reads the same values unsealed and runs the same statements in the same transactions. Measured
from a store's first commit to the last store's last one. The bound publishes no receipt; ours does, meanwhile.
"""

import asyncio
import itertools
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks import harness, servers
from benchmarks.crowd import key_service, travelling
from benchmarks.harness import Run
from benchmarks.servers import Servers, cpu_s
from schemas.base import Marketing
from schemas.events import FactName, MemberPart, Projection
from schemas.topics import affiliate_topic, all_topics
from services.devstack import topics
from services.devstack.environment import inherited
from services.devstack.provision import AFFILIATES
from services.runtime.clock import utc_now

PARTITIONS = 8
TIMEOUT_S = 300.0
POLL_S = 0.02
FIRST = "SELECT 1 FROM watermark WHERE seq > 0 LIMIT 1"
BEHIND = (
    "SELECT 1 FROM unnest($1::uuid[]) r LEFT JOIN watermark w ON member_ref = r WHERE seq IS DISTINCT FROM $2 LIMIT 1"
)
ROWS = "SELECT count(*), coalesce(sum(seq), 0)::bigint, (SELECT count(*) FROM outbox) FROM member"


@dataclass(frozen=True)
class Process:
    """A Python process: its arguments, and what it needs in its environment."""

    argv: list[str]
    env: dict[str, str]


@dataclass(frozen=True)
class Made:
    """One record as it travels, for one affiliate: its key, sealed value, value in clear, and headers."""

    key: bytes
    sealed: bytes
    clear: bytes
    headers: list[tuple[str, bytes]]


async def measure(events: int, members: int, runs: int) -> dict[str, Any]:
    """Return both rates in changes a second, their ratio, and what one record costs in statements and rows."""
    refs = [str(uuid.UUID(int=n + 1)) for n in range(members)]
    async with servers.running(AFFILIATES) as on:
        bench = _Bench(on, refs, events // members)
        await bench.fill()
        figures = await harness.compare(bench.ours, bench.bare, runs=runs)
    return {
        "name": "apply",
        "event": "changes to three stores",
        "bound_is": "bare aiokafka + asyncpg, same SQL",
        "workload": {"changes": bench.changes, "members": members, "affiliates": len(AFFILIATES)},
        "counters": bench.counters,
        **figures,
    }


def _made(affiliate: str, refs: list[str], each: int, at: datetime) -> Iterator[Made]:
    for seq, ref in itertools.product(range(1, each + 1), refs):
        yield _one(affiliate, ref, seq, at)


def _one(affiliate: str, ref: str, seq: int, at: datetime) -> Made:
    shape = Projection(
        change_id=str(uuid.uuid4()),
        member_ref=ref,
        seq=seq,
        prev=seq - 1,
        at=at,
        member=MemberPart(
            email=f"{ref}@example.kr",
            name=f"이름{seq}",
            password_hash="$argon2id$v=19$m=65536,t=3,p=4$" + "x" * 64,
            status="active",
            signed_up_at=at,
        ),
        marketing=Marketing(use=True, email=True, sms=False, night=False),
        processed=None,
        suspended=(),
    )
    name: FactName = "signed_up" if seq == 1 else "corrected"
    sealed, headers = travelling(
        shape, affiliate, affiliate_topic(affiliate), "projection", name, previous=seq - 1, at=at
    )
    return Made(ref.encode(), sealed, orjson.dumps(shape.model_dump(mode="json")), headers)


class _Bench:
    """One backlog, worked off again and again into fresh databases."""

    def __init__(self, on: Servers, refs: list[str], each: int) -> None:
        self._on = on
        self._refs = refs
        self._each = each
        self._number = itertools.count()
        self.changes = each * len(refs)
        self.counters: dict[str, float] = {}

    async def fill(self) -> None:
        """Publish the backlog twice for each affiliate: sealed for ours, in clear for the bare one."""
        bootstrap = self._on.stack.bootstrap
        for prefix in ("sealed-", "clear-"):
            await topics.create(bootstrap, all_topics(AFFILIATES), prefix=prefix)
        options: dict[str, Any] = {"enable_idempotence": True, "linger_ms": 20, "max_batch_size": 1 << 20}
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **options)
        await producer.start()
        try:
            for affiliate in AFFILIATES:
                for made in _made(affiliate, self._refs, self._each, utc_now()):
                    topic = affiliate_topic(affiliate)
                    await producer.send("sealed-" + topic, made.sealed, key=made.key, headers=made.headers)
                    await producer.send("clear-" + topic, made.clear, key=made.key, headers=made.headers)
            await producer.flush()
        finally:
            await producer.stop()

    async def ours(self) -> Run:
        """Three propagators: from the first commit to the last."""
        number = next(self._number)
        names = await self._databases(f"ours{number}")
        async with key_service() as keys, _running(self._propagators(number, names, keys)) as processes:
            run = await self._worked_off(names, processes)
        counted = {
            "statements": await self._on.statements(*names.values()),
            "rows": await self._on.rows(*names.values()),
        }
        records = self.changes * len(AFFILIATES)
        self.counters = {name: round(count / records, 4) for name, count in counted.items()}
        return run

    async def bare(self) -> Run:
        """Three bare consumers: from the first commit to the last."""
        names = await self._databases(f"bare{next(self._number)}")
        async with _running(self._bare(names)) as processes:
            return await self._worked_off(names, processes)

    def _propagators(self, number: int, names: dict[str, str], keys: str) -> dict[str, Process]:
        shared = {
            "DONGUI_PROFILE": "dev",
            "DONGUI_KAFKA": self._on.stack.bootstrap,
            "DONGUI_TOPIC_PREFIX": "sealed-",
            "DONGUI_AFFILIATE_DSNS": orjson.dumps({a: self._dsn(a, name) for a, name in names.items()}).decode(),
            "DONGUI_AFFILIATE_TOKENS": orjson.dumps(dict.fromkeys(names, "a-token-of-the-benchmark")).decode(),
            "DONGUI_CONSENT_URL": keys,
            "DONGUI_RECONCILE_INTERVAL_S": "86400",
            "DONGUI_DATA_DIR": str(self._on.folder / f"run{number}"),
            "DONGUI_LOG_LEVEL": "ERROR",
        }
        return {a: Process(["-m", "services.propagator", "--affiliate", a], shared) for a in names}

    def _bare(self, names: dict[str, str]) -> dict[str, Process]:
        argv = ["-m", "benchmarks.apply_bound", self._on.stack.bootstrap]
        return {
            a: Process([*argv, "clear-" + affiliate_topic(a), self._dsn(a, name), a], {}) for a, name in names.items()
        }

    def _dsn(self, affiliate: str, name: str) -> str:
        return self._on.access.dsn(affiliate, name)

    async def _databases(self, run: str) -> dict[str, str]:
        """Return a fresh database of each affiliate; the propagators' groups go back to the first record."""
        names = {a: f"{a}_{run}" for a in AFFILIATES}
        for affiliate, name in names.items():
            await self._on.database(affiliate, name)
            await _rewind(self._on.stack.bootstrap, affiliate)
        return names

    async def _worked_off(self, names: dict[str, str], processes: dict[str, asyncio.subprocess.Process]) -> Run:
        """Wait for the first commit anywhere and the last everywhere; raise when a store is not exactly right."""
        watched = [await asyncpg.connect(self._on.admin_dsn(name)) for name in names.values()]
        tail = self._refs[-64:]  # the last records of every partition are among these
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while not any([await c.fetchval(FIRST) for c in watched]):
                    await asyncio.sleep(POLL_S)
                started, cpu = time.perf_counter(), _cpu_s(processes)
                for connection in watched:
                    while await connection.fetchval(BEHIND, tail, self._each):
                        await asyncio.sleep(POLL_S)
            run = Run(self.changes, time.perf_counter() - started, _cpu_s(processes) - cpu)
            for connection in watched:
                await self._check(connection)
            return run
        finally:
            for connection in watched:
                await connection.close()

    async def _check(self, connection: asyncpg.Connection) -> None:
        """Every member's last change is there, and a receipt of each change."""
        found = tuple(await connection.fetchrow(ROWS))
        if found != (len(self._refs), self.changes, self.changes):
            raise AssertionError(f"members, sum of seq and receipts are {found}")


async def _rewind(bootstrap: str, affiliate: str) -> None:
    """A propagator's group, which nobody is in, reads from the beginning again."""
    topic = "sealed-" + affiliate_topic(affiliate)
    options: dict[str, Any] = {"group_id": f"sealed-dongui-propagator-{affiliate}", "enable_auto_commit": False}
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, **options)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.commit(dict.fromkeys(partitions, 0))
    finally:
        await consumer.stop()


def _cpu_s(processes: dict[str, asyncio.subprocess.Process]) -> float:
    return sum(cpu_s(process.pid) for process in processes.values())


@asynccontextmanager
async def _running(asked: dict[str, Process]) -> AsyncIterator[dict[str, asyncio.subprocess.Process]]:
    processes = {
        name: await asyncio.create_subprocess_exec(sys.executable, *one.argv, env=inherited() | one.env)
        for name, one in asked.items()
    }
    try:
        yield processes
    finally:
        for process in processes.values():
            process.terminate()
        await asyncio.gather(*(asyncio.wait_for(p.wait(), 20) for p in processes.values()))

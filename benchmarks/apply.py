"""How fast three affiliates' propagators work off a backlog, against the same SQL with nothing of ours around it.

The same sealed records in every run: `members` members, each signed up and then corrected. Ours are the real
processes (JWE, watermarks, gaps, receipts through the outbox); the bound is a bare aiokafka consumer in one process
per affiliate that reads the same values unsealed and runs the same statements in the same transactions. Measured
from a store's first commit to the last store's last one.
"""

import asyncio
import itertools
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

import asyncpg
import orjson
from aiokafka import AIOKafkaProducer

from benchmarks.crowd import DATA_KEY, key_service
from benchmarks.measured import cpu_s, servers
from schemas import codec
from schemas.base import Marketing
from schemas.envelope import Envelope, to_headers
from schemas.events import MemberPart, Projection
from schemas.topics import affiliate_topic, all_topics
from services.devstack import topics
from services.devstack.environment import inherited
from services.devstack.provision import AFFILIATES, Access, migrate_one, provision
from services.devstack.stack import Stack
from services.keyring import derive
from services.runtime.clock import utc_now

PARTITIONS = 8
TIMEOUT_S = 300.0
POLL_S = 0.02
FIRST = "SELECT 1 FROM watermark WHERE seq > 0 LIMIT 1"
BEHIND = (
    "SELECT 1 FROM unnest($1::uuid[]) r LEFT JOIN watermark w ON member_ref = r WHERE seq IS DISTINCT FROM $2 LIMIT 1"
)
LEFT = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
ROWS = "SELECT count(*), coalesce(sum(seq), 0)::bigint, (SELECT count(*) FROM outbox) FROM member"


@dataclass(frozen=True)
class Made:
    """One record as it travels, for one affiliate: its key, sealed value, value in clear, and headers."""

    key: bytes
    sealed: bytes
    clear: bytes
    headers: list[tuple[str, bytes]]


async def measure(events: int, members: int, runs: int) -> dict[str, Any]:
    """Return events a second, ours and bare, one figure a run; and the ratio of the medians."""
    refs = [str(uuid.UUID(int=n + 1)) for n in range(members)]
    each = events // members
    async with servers() as stack:
        await _fill(stack, refs, each)
        ours, bare, told = [], [], {}
        for run in range(runs):
            bare.append((await _run(stack, f"bare{run}", refs, each, _bare))["events_per_s"])
            told = await _run(stack, f"ours{run}", refs, each, _propagators)
            ours.append(told["events_per_s"])
    ratio = round(median(ours) / median(bare), 2)
    given = {"events": each * members, "members": members, "affiliates": len(AFFILIATES)}
    return given | {"ours_per_s": ours, "bare_per_s": bare, "ratio": ratio, "last_run": told}


async def _fill(stack: Stack, refs: list[str], each: int) -> None:
    """Publish the backlog twice for each affiliate: sealed for ours, in clear for the bare one."""
    for prefix in ("sealed-", "clear-"):
        await topics.create(stack.bootstrap, all_topics(AFFILIATES), prefix=prefix)
    producer = AIOKafkaProducer(
        bootstrap_servers=stack.bootstrap, enable_idempotence=True, linger_ms=20, max_batch_size=1 << 20
    )
    await producer.start()
    try:
        for affiliate in AFFILIATES:
            for made in _made(affiliate, refs, each, utc_now()):
                topic = affiliate_topic(affiliate)
                await producer.send("sealed-" + topic, made.sealed, key=made.key, headers=made.headers)
                await producer.send("clear-" + topic, made.clear, key=made.key, headers=made.headers)
        await producer.flush()
    finally:
        await producer.stop()


def _made(affiliate: str, refs: list[str], each: int, at: datetime) -> Iterator[Made]:
    for seq, ref in itertools.product(range(1, each + 1), refs):
        yield _one(affiliate, ref, seq, at)


def _one(affiliate: str, ref: str, seq: int, at: datetime) -> Made:
    kid, change_id = derive.format_kid(affiliate, ref, 1), str(uuid.uuid4())
    shape = Projection(
        change_id=change_id,
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
    envelope = Envelope(
        id=str(uuid.uuid4()),
        type="kr.dongui.member.signed_up.v1" if seq == 1 else "kr.dongui.member.corrected.v1",
        source="/dongui/consent",
        subject=ref,
        sequence=seq,
        previous=seq - 1,
        time=at,
        dataschema="urn:dongui:projection:v1",
        content_type="application/jose",
        change_id=change_id,
    )
    key = derive.content_key(DATA_KEY, kid)
    sealed = codec.seal(shape, key=key, kid=kid, topic=affiliate_topic(affiliate))
    headers = [(name, text.encode()) for name, text in to_headers(envelope).items()]
    return Made(ref.encode(), sealed, orjson.dumps(shape.model_dump(mode="json")), headers)


Start = Callable[[Stack, str, dict[str, str], str], dict[str, dict[str, Any]]]
"""(stack, run, DSN of each affiliate, key service) -> for each affiliate argv and environment of its process."""


async def _run(stack: Stack, run: str, refs: list[str], each: int, start: Start) -> dict[str, Any]:
    """Work the backlog off on fresh databases in processes of this run; all rows are checked at the end."""
    access = Access.load(stack.postgres, stack.base_dir / "secrets" / "databases.json", AFFILIATES)
    dsns = {a: await _database(access, a, run) for a in AFFILIATES}
    async with key_service() as keys, _running(start(stack, run, dsns, keys)) as processes:
        before = {a: cpu_s(p.pid) for a, p in processes.items()}
        first, last = await _worked_off(dsns, refs, each)
        cpu = sum(cpu_s(p.pid) - before[a] for a, p in processes.items())
        drained = await _drained(dsns) - first if start is _propagators else None
    await _check(dsns, refs, each)
    events = each * len(refs)
    per_event = 1_000_000 * cpu / events / len(AFFILIATES)
    return {
        "events_per_s": round(events / (last - first)),
        "rows_per_s": round(events * len(AFFILIATES) / (last - first)),
        "cpu_us_per_record": round(per_event, 1),
        "receipts_out_s": drained and round(drained, 2),
        "applied_s": round(last - first, 2),
    }


def _propagators(stack: Stack, run: str, dsns: dict[str, str], keys: str) -> dict[str, dict[str, Any]]:
    shared = {
        "DONGUI_PROFILE": "dev",
        "DONGUI_KAFKA": stack.bootstrap,
        "DONGUI_TOPIC_PREFIX": "sealed-",
        "DONGUI_AFFILIATE_DSNS": orjson.dumps(dsns).decode(),
        "DONGUI_AFFILIATE_TOKENS": orjson.dumps(dict.fromkeys(dsns, "a-token-of-the-benchmark")).decode(),
        "DONGUI_CONSENT_URL": keys,
        "DONGUI_RECONCILE_INTERVAL_S": "86400",
        "DONGUI_DATA_DIR": str(stack.base_dir / run),
        "DONGUI_LOG_LEVEL": "ERROR",
    }
    return {a: {"argv": ["-m", "services.propagator", "--affiliate", a], "env": shared} for a in dsns}


def _bare(stack: Stack, run: str, dsns: dict[str, str], _: str) -> dict[str, dict[str, Any]]:  # noqa: ARG001
    argv = ["-m", "benchmarks.apply_bound", stack.bootstrap]
    return {a: {"argv": [*argv, "clear-" + affiliate_topic(a), dsn, a], "env": {}} for a, dsn in dsns.items()}


@asynccontextmanager
async def _running(asked: dict[str, dict[str, Any]]) -> AsyncIterator[dict[str, asyncio.subprocess.Process]]:
    processes = {
        name: await asyncio.create_subprocess_exec(sys.executable, *one["argv"], env=inherited() | one["env"])
        for name, one in asked.items()
    }
    try:
        yield processes
    finally:
        for process in processes.values():
            process.terminate()
        await asyncio.gather(*(asyncio.wait_for(p.wait(), 20) for p in processes.values()))


async def _worked_off(dsns: dict[str, str], refs: list[str], each: int) -> tuple[float, float]:
    """Return the instants of the first commit anywhere and of the last one everywhere."""
    watched = [await asyncpg.connect(dsn) for dsn in dsns.values()]
    tail = refs[-64:]  # the last records of every partition are among these
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not any([await c.fetchval(FIRST) for c in watched]):
                await asyncio.sleep(POLL_S)
            first = time.perf_counter()
            for connection in watched:
                while await connection.fetchval(BEHIND, tail, each):
                    await asyncio.sleep(POLL_S)
            return first, time.perf_counter()
    finally:
        for connection in watched:
            await connection.close()


async def _drained(dsns: dict[str, str]) -> float:
    """Wait until every receipt has left its outbox; return the instant."""
    async with asyncio.timeout(TIMEOUT_S):
        for dsn in dsns.values():
            connection = await asyncpg.connect(dsn)
            while await connection.fetchval(LEFT):
                await asyncio.sleep(POLL_S)
            await connection.close()
    return time.perf_counter()


async def _check(dsns: dict[str, str], refs: list[str], each: int) -> None:
    """Raise when a store does not hold exactly every member's last change, and a receipt of each change."""
    for affiliate, dsn in dsns.items():
        connection = await asyncpg.connect(dsn)
        found = tuple(await connection.fetchrow(ROWS))
        await connection.close()
        if found != (len(refs), len(refs) * each, len(refs) * each):
            raise AssertionError(f"{affiliate} holds {found}")


async def _database(access: Access, affiliate: str, run: str) -> str:
    await provision(access, [affiliate])
    name = f"{affiliate}_{run}"
    connection = await asyncpg.connect(access.admin_dsn)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" OWNER "{affiliate}_owner"')
    finally:
        await connection.close()
    await migrate_one(access, affiliate, name)
    return access.dsn(affiliate, name)


def table(result: dict[str, Any]) -> str:
    """Return the table."""
    last = result["last_run"]
    return (
        f"{result['events']:,} events of {result['members']:,} members to {result['affiliates']} affiliates\n"
        f"  events/s ours  {result['ours_per_s']}  median {median(result['ours_per_s']):,}\n"
        f"  events/s bare  {result['bare_per_s']}  median {median(result['bare_per_s']):,}\n"
        f"  ratio {result['ratio']}; {last['rows_per_s']:,} rows/s, {last['cpu_us_per_record']} us CPU a record\n"
    )

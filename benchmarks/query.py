"""The audit log's queries over N entries: each filter through the HTTP application, the record of the access included.

The entries are made inside the server (real columns and indexes, bodies of a real size, no tree over them), skewed as
ours are: many receipts of few affiliates, a long tail of third parties and staff, one entry in a hundred days late.
After that real records are appended to the full log, from Kafka bytes to COMMIT, to see the rate.
"""

import hashlib
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from aiokafka import ConsumerRecord

from benchmarks import servers
from benchmarks.latency import quantiles
from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.events import Addressee, Fact
from schemas.topics import FACTS
from services.audit import api, store, tree
from services.audit.leaf import Leaf, of_record
from services.audit.tree import Frontier
from services.devstack.ports import free_ports
from services.devstack.postgres import Postgres
from services.devstack.provision import Access, provision
from services.devstack.stack import prepare
from services.runtime import postgres
from services.runtime.auth import Principal
from services.runtime.clock import utc_now
from services.runtime.rates import Rates

BASE = datetime(2026, 1, 1, tzinfo=UTC)
STEP_S = 3
PER_MEMBER = 50
WARM_UP = 10
APPENDED, BATCH = 20_000, 500
INDEXES = ("entry_by_facet", "entry_by_member", "entry_by_change")
# The same on every machine: what may not be random is drawn from the entry's number.
ID = "md5('{}' || {})::uuid"
FACETS = """
INSERT INTO facet (type, kind, actor, recipient, stage, clauses)
SELECT 'kr.dongui.receipt.v1', NULL, r, r, s, '3.2'
FROM unnest(ARRAY['tmax-cloud','tmax-os','tmax-anc']) r, unnest(ARRAY['applied','superseded','refused','late']) s
UNION ALL SELECT 'kr.dongui.member.' || t || '.v1', NULL, a, NULL, NULL, c
FROM unnest(ARRAY['corrected','signed_up','consent_changed','withdrawn','suspended','erased']) t,
     unnest(ARRAY['member','staff','guardian','system']) a, unnest(ARRAY['3.1','3.2 5.1','1.5 3.2','4.3 5.1','7.1']) c
UNION ALL SELECT 'kr.dongui.register.v1', k, a, NULL, NULL, '5.1'
FROM unnest(ARRAY['rights_request','message','inquiry','erasure','dormancy','guardian']) k,
     unnest(ARRAY['staff','member','system']) a
UNION ALL SELECT 'kr.dongui.receipt.v1', NULL, 'partner-' || n, 'partner-' || n, s, '5.7'
FROM generate_series(1, 200) n, unnest(ARRAY['applied','refused','late']) s
UNION ALL SELECT 'kr.dongui.audit.access.v1', k, 'staff-' || n, NULL, NULL, '8.1'
FROM generate_series(1, 50) n, unnest(ARRAY['query','proof','export','reveal']) k
"""
ENTRIES = f"""
INSERT INTO entry (index, event_id, content_hash, leaf_hash, body, type, member_ref, change_id, seq, actor, recipient,
                   stage, at, appended_at, facet)
SELECT i, {ID.format("e", "i")}, sha256(i::text::bytea), sha256(i::text::bytea),
       convert_to('{{"data":{{"n":' || i || ',"filler":"' || repeat('x', 420) || '"}}}}', 'UTF8'),
       f.type, {ID.format("m", "i % $3")}, {ID.format("c", "i / 5")}, i, f.actor, f.recipient, f.stage,
       x.at, x.at, f.facet
FROM (SELECT i, 1 + floor(power(random(), 4) * (SELECT count(*) FROM facet))::int AS facet,
             $4::timestamptz + i * interval '{STEP_S} s' - CASE WHEN i % 100 = 0 THEN random() * interval '3 days'
                                                             ELSE interval '0' END AS at
      FROM generate_series($1::bigint, $2::bigint - 1) i) x JOIN facet f USING (facet)
"""


class Everyone:
    """Stands for the identity provider."""

    async def principal(self, _authorization: str | None) -> Principal:
        return Principal("benchmark", frozenset({"compliance"}))


async def measure(entries: int, repeats: int) -> dict[str, Any]:
    """Load, ask, append; return milliseconds by filter and rates."""
    async with _database() as access:
        owner = await asyncpg.connect(access.owner_dsn("audit"))
        started = time.monotonic()
        await _load(owner, entries)
        await servers.execute(access.admin_dsn, "CHECKPOINT")  # the load's own pages are not the questions' cost
        loaded_s = time.monotonic() - started
        size = await owner.fetchval("SELECT pg_total_relation_size('entry')")
        await owner.close()
        pool = await postgres.open_pool(access.dsn("audit"), size=4)
        filters = await _ask(pool, entries, repeats)
        rate, append_cpu = await _append(pool, entries)
        await pool.close()
    return {
        "entries": entries,
        "repeats": repeats,
        "load_s": round(loaded_s, 1),
        "bytes": size,
        "filters_ms": filters,
        "append_per_s": rate,
        "append_cpu_ms": append_cpu,
        "load": round(os.getloadavg()[0], 1),
    }


@asynccontextmanager
async def _database() -> Any:
    with tempfile.TemporaryDirectory(prefix="dongui-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        prepare(folder)
        server = Postgres(folder, free_ports(1)[0], settings={"max_wal_size": "4GB"})
        await server.start()
        try:
            access = Access.load(server, folder / "secrets" / "databases.json", ["audit"])
            await provision(access, ["audit"])
            yield access
        finally:
            await server.stop()


async def _load(owner: asyncpg.Connection, entries: int) -> None:
    """Fill the tables with their other indexes off, then make them again and let the planner know."""
    await owner.execute(FACETS)
    kept = {name: await owner.fetchval(f"SELECT pg_get_indexdef('{name}'::regclass)") for name in INDEXES}
    for name in INDEXES:
        await owner.execute(f"DROP INDEX {name}")
    for start in range(0, entries, 500_000):
        end = min(start + 500_000, entries)
        await owner.execute(ENTRIES, start, end, max(1, entries // PER_MEMBER), BASE, timeout=3600)
        sys.stderr.write(f"{end:,} entries\n")
    for definition in kept.values():
        await owner.execute(definition, timeout=3600)
    await owner.execute("INSERT INTO slice SELECT index / 1024, min(at), max(at) FROM entry GROUP BY 1")
    await owner.execute("DELETE FROM slice WHERE slice = (SELECT max(index) / 1024 FROM entry)")
    await owner.execute("VACUUM ANALYZE", timeout=3600)


def questions(entries: int) -> dict[str, Callable[[random.Random], dict[str, str]]]:
    """Return the filters, each with parameters drawn anew."""

    def time_range(chance: random.Random, days: float) -> dict[str, str]:
        start = BASE + timedelta(seconds=chance.random() * entries * STEP_S)
        return {"from": start.isoformat(), "to": (start + timedelta(days=days)).isoformat()}

    def identity(chance: random.Random, letter: str, among: int) -> str:
        return str(uuid.UUID(_md5(f"{letter}{chance.randrange(max(1, among))}")))

    def cursor(chance: random.Random) -> dict[str, str]:
        return {"cursor": str(chance.randrange(entries))}

    affiliates = ("tmax-cloud", "tmax-os", "tmax-anc")
    fact = "kr.dongui.member.corrected.v1"
    return {
        "newest": lambda _: {"order": "newest"},
        "from any place": cursor,
        "member": lambda c: {"member_ref": identity(c, "m", entries // PER_MEMBER)},
        "member and a month": lambda c: {"member_ref": identity(c, "m", entries // PER_MEMBER)} | time_range(c, 30),
        "change": lambda c: {"change_id": identity(c, "c", entries // 5)},
        "type": lambda c: {"type": c.choice((fact, "kr.dongui.receipt.v1"))} | cursor(c),
        "actor": lambda c: {"actor": c.choice(("member", "staff", "staff-7", "system"))} | cursor(c),
        "affiliate": lambda c: {"affiliate": c.choice(affiliates)} | cursor(c),
        "rare third party": lambda c: {"affiliate": f"partner-{c.randrange(1, 201)}"},
        "clause": lambda c: {"clause": c.choice(("5", "3.2", "1.5", "7.1", "8"))} | cursor(c),
        "an hour": lambda c: time_range(c, 1 / 24),
        "a day": lambda c: time_range(c, 1),
        "type and a day": lambda c: {"type": fact} | time_range(c, 1),
        "rare third party and a day": lambda c: {"affiliate": f"partner-{c.randrange(1, 201)}"} | time_range(c, 1),
        "clause, actor, newest": lambda _: {"clause": "5", "actor": "staff", "order": "newest"},
        "affiliate, stage, a week": lambda c: {"affiliate": c.choice(affiliates), "stage": "late"} | time_range(c, 7),
        "nothing matches": lambda c: {"type": fact, "actor": "nobody"} | time_range(c, 30),
    }


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


async def _ask(pool: asyncpg.Pool, entries: int, repeats: int) -> dict[str, dict[str, float]]:
    async def ready() -> dict[str, bool]:
        return {}

    who: Any = Everyone()
    app = api.create(pool, who, Rates(50, 5000), vkey="", clock=utc_now, ready=ready)
    found = {}
    staff = {"Authorization": "Bearer staff"}  # who shows no token is held to the rate of a stranger's address
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://audit", headers=staff) as client:
        for name, question in questions(entries).items():
            chance = random.Random(name)
            for _ in range(WARM_UP):
                await _timed(client, question(chance))
            before = await _cpu_s(pool)
            taken = [await _timed(client, question(chance)) for _ in range(repeats)]
            cpu = 1000 * (await _cpu_s(pool) - before) / repeats
            found[name] = quantiles(taken) | {"cpu": round(cpu, 1)}
    return found


async def _cpu_s(pool: asyncpg.Pool) -> float:
    """Return the processor seconds of this process and of its server processes (Linux): free of who else is running."""
    pids = await pool.fetch("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
    stats = [Path(f"/proc/{row['pid']}/stat").read_text().rpartition(") ")[2].split() for row in pids]
    ticks = sum(int(stat[11]) + int(stat[12]) for stat in stats)
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


async def _timed(client: httpx.AsyncClient, params: dict[str, str]) -> float:
    started = time.perf_counter()
    answer = await client.get("/v1/audit/entries", params=params | {"limit": "100"})
    taken = 1000 * (time.perf_counter() - started)
    answer.raise_for_status()
    return taken


async def _append(pool: asyncpg.Pool, entries: int) -> tuple[float, float]:
    """Return leaves a second, and processor milliseconds for one, of one writer.

    Decode, canonicalise, hash, insert with all indexes, COMMIT per batch.
    """
    made = [_record(n) for n in range(APPENDED)]
    frontier = Frontier(entries, [bytes(32)] * len(tree.cover((0, entries))))
    started, before = time.perf_counter(), await _cpu_s(pool)
    for start in range(0, APPENDED, BATCH):
        leaves = [leaf for record in made[start : start + BATCH] if isinstance(leaf := of_record(record), Leaf)]
        async with pool.acquire() as tx, tx.transaction():
            await store.append(tx, frontier, leaves)
    seconds, cpu = time.perf_counter() - started, await _cpu_s(pool) - before
    return round(APPENDED / seconds), round(1000 * cpu / APPENDED, 2)


def _record(n: int) -> "ConsumerRecord[Any, Any]":
    affiliates = ("tmax-cloud", "tmax-os", "tmax-anc")
    fact = Fact(
        change="corrected",
        change_id=str(uuid.uuid4()),
        member_ref=str(uuid.uuid4()),
        seq=1,
        at=BASE + timedelta(seconds=n),
        actor="member",
        channel="web",
        items=("email", "name"),
        addressees=tuple(Addressee(id=a, kind="affiliate", rules=("3.2-share",)) for a in affiliates),
        policy_version="2021-02-22",
    )
    envelope = Envelope(
        id=str(uuid.uuid4()),
        type="kr.dongui.member.corrected.v1",
        source="/dongui/consent",
        subject=fact.member_ref,
        sequence=1,
        previous=0,
        time=fact.at,
        dataschema="urn:dongui:fact:v1",
        content_type="application/json",
        traceparent=None,
    )
    value = codec.encode_clear(fact, envelope)
    headers = tuple((name, text.encode()) for name, text in to_headers(envelope).items())
    return ConsumerRecord(FACTS, 0, n, 0, 0, b"", value, None, 0, len(value), headers)


def table(result: dict[str, Any]) -> str:
    """Return the result as a table for people."""
    lines = [f"{'milliseconds':<30}{'p50':>8}{'p99':>9}{'max':>9}{'cpu':>7}"]
    lines += [
        f"{name:<30}{q['p50']:>8}{q['p99']:>9}{q['max']:>9}{q['cpu']:>7}" for name, q in result["filters_ms"].items()
    ]
    size = f"{result['bytes'] / 2**30:.2f} GiB"
    lines.append(f"{result['entries']:,} entries ({size}), {result['repeats']} questions each, one client")
    lines.append(
        f"appended {result['append_per_s']:,.0f} leaves/s by one writer, {result['append_cpu_ms']} ms of CPU each"
    )
    lines.append(
        f"cpu: mean of client and server together; load average {result['load']}; Python {sys.version.split()[0]}"
    )
    return "\n".join(lines) + "\n"

"""What grows when members, affiliates, workers or history grow: apply rate, memory, blocks a statement reads.

One row of points per question, the other three held still: members already in the store, affiliates (one propagator
each; beyond the three of the policy the first serves again under a topic prefix of its own), workers that share one
affiliate's partitions, and rounds of changes on the same members by one process that lives through all of them.
"""

import hashlib
import os
import random
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks import servers, watch
from benchmarks.apply import FORMS, produce, propagators, record, references
from benchmarks.crowd import key_service
from benchmarks.servers import Servers
from benchmarks.watch import Backlog, Process
from schemas.topics import affiliate_topic, all_topics
from services.devstack import topics
from services.devstack.provision import AFFILIATES
from services.propagator.store import SQL, SUPPRESSIONS_LOCK
from services.runtime.clock import utc_now

AFFILIATE: Final = AFFILIATES[0]
SIZES: Final = (10_000, 100_000)
SIZE_FULL: Final = 1_000_000
QUESTIONS: Final = {
    "members": "members in the store",
    "affiliates": "affiliates, a process each",
    "workers": "workers of one affiliate",
    "history": "changes in the history",
}
AFFILIATE_COUNTS: Final = (1, 3, 10)
WORKERS: Final = (1, 2, 3, 4)
ROUNDS: Final = 6
ASKED: Final = 100
"""Members per statement whose plan is looked at."""
STATEMENTS: Final[Mapping[str, tuple[int, ...]]] = {
    "read_seen": (),
    "read_states": (),
    "lock_states": (SUPPRESSIONS_LOCK,),
}
"""Name -> parameters after the members."""
GROW: Final = """
INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table},
  to_jsonb(t) || jsonb_build_object('member_ref', md5(n::text)::uuid))).*
FROM {table} t CROSS JOIN generate_series(1, {copies}) n
"""
ROWS: Final = """
SELECT (SELECT count(*) FROM member) AS member, (SELECT count(*) FROM watermark) AS watermark,
       (SELECT count(*) FROM gap) AS gap, (SELECT count(*) FROM parked) AS parked,
       pg_database_size(current_database()) AS bytes
"""


async def measure(events: int, full: int, question: str) -> dict[str, Any]:
    """Return, of each question asked, the points and how busy the machine was meanwhile.

    A point: changes a second, MiB per process, blocks per statement, rows and bytes. Raises ValueError for an unknown
    question.
    """
    if question not in ("all", *QUESTIONS):
        raise ValueError(f"--question must be one of all, {', '.join(QUESTIONS)}")
    async with servers.running([AFFILIATE]) as on, key_service() as keys:
        bench = _Bench(on, keys, events, (*SIZES, SIZE_FULL) if full else SIZES)
        found = {name: await _asked(bench, name) for name in QUESTIONS if question in ("all", name)}
    return {"name": "growth", "workload": {"events": events, "members": events // 2}, "cores": os.cpu_count(), **found}


async def _asked(bench: "_Bench", question: str) -> dict[str, Any]:
    before, points = os.getloadavg()[0], []
    async for point in bench.points(question):
        sys.stderr.write(f"{question}: {orjson.dumps(point).decode()}\n")
        points.append(point)
    return {"load_average": [round(before, 1), round(os.getloadavg()[0], 1)], "points": points}


@dataclass(frozen=True)
class _Store:
    """A database, and the topics of its own that are applied to it."""

    database: str
    prefix: str


class _Bench:
    """Backlogs of `events` changes each: two changes of each of half as many members."""

    def __init__(self, on: Servers, keys: str, events: int, sizes: Sequence[int]) -> None:
        self._on = on
        self._keys = keys
        self._events = events
        self._sizes = sizes
        self._stores = 0

    async def points(self, question: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the points of a question, one after the other."""
        if question == "history":
            async for point in self.of_history():
                yield point
            return
        one, counts = {
            "members": (self.of_members, self._sizes),
            "affiliates": (self.of_affiliates, AFFILIATE_COUNTS),
            "workers": (self.of_workers, WORKERS),
        }[question]
        for count in counts:
            yield await one(count)

    async def of_members(self, size: int) -> dict[str, Any]:
        """One worker; `size` members are there before, and chosen ones of them change twice."""
        store = await self._store()
        numbers = random.Random(1).sample(range(1, size), self._events // 2)
        refs = [str(uuid.UUID(hashlib.md5(str(n).encode()).hexdigest())) for n in numbers]
        async with watch.running(self._processes([store], 1)) as pids:
            await self._populate(store, size, pids)
            await self._fill(store, refs, first=2)
            point = await self._timed([store], Backlog(refs, 3, done=1), pids)
        blocks = await self._blocks(store, refs[:ASKED])
        return {"at": size, **point, "blocks_per_member": blocks, **await self._rows(store)}

    async def of_affiliates(self, count: int) -> dict[str, Any]:
        """One worker for each of `count` stores; the rate is of changes that reached all of them."""
        stores = [await self._store() for _ in range(count)]
        refs = references(self._events // 2)
        for store in stores:
            await self._fill(store, refs)
        return {"at": count, **await self._apply(stores, Backlog(refs, 2))}

    async def of_workers(self, count: int) -> dict[str, Any]:
        """`count` workers share the partitions of one affiliate."""
        store = await self._store()
        refs = references(self._events // 2)
        await self._fill(store, refs)
        return {"at": count, **await self._apply([store], Backlog(refs, 2), workers=count)}

    async def of_history(self) -> AsyncIterator[dict[str, Any]]:
        """One process; the same members change round after round."""
        store, refs = await self._store(), references(self._events // 2)
        await self._fill(store, refs)
        async with watch.running(self._processes([store], 1)) as pids:
            for number in range(1, ROUNDS + 1):
                if number > 1:
                    await self._fill(store, refs, first=2 * number - 1)
                backlog = Backlog(refs, 2 * number, done=2 * number - 2)
                point = await self._timed([store], backlog, pids)
                yield {"at": number * self._events, **point, **await self._rows(store)}

    async def _apply(self, stores: Sequence[_Store], backlog: Backlog, *, workers: int = 1) -> dict[str, Any]:
        async with watch.running(self._processes(stores, workers)) as pids:
            return await self._timed(stores, backlog, pids)

    async def _timed(self, stores: Sequence[_Store], backlog: Backlog, pids: Sequence[int]) -> dict[str, Any]:
        run = await backlog.worked_off([self._on.admin_dsn(s.database) for s in stores], pids)
        resident = [_resident_mib(pid) for pid in pids]
        cpu = {"cpu_us_per_event": round(1e6 * run.cpu_s / run.events)} if run.cpu_s is not None and run.events else {}
        return {"per_s": round(run.rate), **cpu, "resident_mib": round(max(resident), 1), "processes": len(pids)}

    async def _store(self) -> _Store:
        self._stores += 1
        name = f"store_{self._stores}"
        await self._on.database(AFFILIATE, name)
        store = _Store(name, f"s{self._stores}-")
        await topics.create(self._on.stack.bootstrap, all_topics([AFFILIATE]), prefix=store.prefix)
        return store

    async def _fill(self, store: _Store, refs: Sequence[str], *, first: int = 1, each: int = 2) -> None:
        """Publish changes `first` and so on of each member; made beforehand, so that they come at once."""
        at = utc_now()
        made = [record(AFFILIATE, ref, seq, at) for seq in range(first, first + each) for ref in refs]
        await produce(self._on.stack.bootstrap, affiliate_topic(AFFILIATE), made, {store.prefix: FORMS["sealed-"]})

    async def _populate(self, store: _Store, size: int, pids: Sequence[int]) -> None:
        """Make `size` members at their first change: one by the worker, the others its copies."""
        first = references(1)
        await self._fill(store, first, each=1)
        await self._timed([store], Backlog(first, 1), pids)
        dsn = self._on.admin_dsn(store.database)
        for table in ("watermark", "member"):
            await servers.execute(dsn, GROW.format(table=table, copies=size - 1))
        await servers.execute(dsn, "VACUUM ANALYZE")

    async def _blocks(self, store: _Store, refs: Sequence[str]) -> dict[str, float]:
        """Return how many blocks each statement of the apply path touches for one member of a batch."""
        found = {}
        async with servers.connected(self._on.admin_dsn(store.database)) as connection:
            for name, more in STATEMENTS.items():
                asked = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {SQL[name]}"
                plan = orjson.loads(await connection.fetchval(asked, list(refs), *more))[0]["Plan"]
                found[name] = blocks(plan) / len(refs)
        return found

    async def _rows(self, store: _Store) -> dict[str, Any]:
        (row,) = await servers.fetch(self._on.admin_dsn(store.database), ROWS)
        return {"rows": {name: row[name] for name in ("member", "watermark", "gap", "parked")}, "bytes": row["bytes"]}

    def _processes(self, stores: Sequence[_Store], workers: int) -> dict[str, Process]:
        return {
            (run := f"{store.database}-{n}"): propagators(
                self._on, self._keys, store.prefix, {AFFILIATE: store.database}, run
            )[AFFILIATE]
            for store in stores
            for n in range(workers)
        }


def blocks(plan: dict[str, Any]) -> int:
    """Return the shared blocks a plan touched, in memory or not; the top node counts those below it."""
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def _resident_mib(pid: int) -> float:
    """Return what the process holds in memory now (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def table(result: dict[str, Any]) -> str:
    """Return all points as one table for people."""
    lines = [f"{'':<24}{'changes/s':>12}{'µs of CPU each':>16}{'MiB a process':>15}  rows, bytes, blocks a member"]
    for question in (name for name in QUESTIONS if name in result):
        for point in result[question]["points"]:
            more = {k: point[k] for k in ("rows", "bytes", "blocks_per_member") if k in point}
            at, cpu = f"{question} {point['at']:,}", point.get("cpu_us_per_event", 0)
            lines.append(f"{at:<24}{point['per_s']:>12,}{cpu:>16,}{point['resident_mib']:>15}  {more or ''}")
        first, last = result[question]["load_average"]
        lines.append(f"load average {first} to {last} on {result['cores']} cores")
    return "\n".join(lines) + "\n"

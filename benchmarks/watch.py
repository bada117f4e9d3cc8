"""Several processes that each work off a backlog into a database of their own: started, watched, timed and ended.

Timed from the first commit seen anywhere to the last one everywhere. What was there when the clock started does not
count as done in that time, so a reader of large batches gains nothing by its first.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from benchmarks.harness import Run
from benchmarks.servers import connected, cpu_s
from services.devstack.environment import inherited

TIMEOUT_S = 300.0
POLL_S = 0.02
OF = "FROM unnest($1::uuid[]) r LEFT JOIN {table} w ON w.member_ref = r"
FIRST = f"SELECT 1 {OF} WHERE w.seq > $2 LIMIT 1"
SO_FAR = f"SELECT coalesce(sum(w.seq - $2), 0)::bigint {OF} WHERE w.seq > $2"
BEHIND = f"SELECT 1 {OF} WHERE w.seq IS DISTINCT FROM $2 LIMIT 1"


@dataclass(frozen=True)
class Process:
    """A program: its arguments, what it needs in its environment, and which one it is (this Python)."""

    argv: list[str]
    env: dict[str, str]
    program: str = sys.executable


@dataclass(frozen=True)
class Backlog:
    """Changes of every member up to number `each`, in this order again and again, into `table` (member_ref, seq).

    Up to number `done` they are there already.
    """

    refs: Sequence[str]
    each: int
    table: str = "watermark"
    done: int = 0

    @property
    def changes(self) -> int:
        return (self.each - self.done) * len(self.refs)

    async def worked_off(self, dsns: Iterable[str], pids: Sequence[int]) -> Run:
        """Watch these databases until all have all; `pids` are those who work. Raises TimeoutError after 300 s,
        and RuntimeError when one of `pids` ends before."""
        async with AsyncExitStack() as stack, asyncio.timeout(TIMEOUT_S):
            stores = [await stack.enter_async_context(connected(dsn)) for dsn in dsns]
            while not any([await self._ask(store, FIRST, self.refs, self.done) for store in stores]):
                await pause(pids)
            before = sum([await self._ask(store, SO_FAR, self.refs, self.done) for store in stores])
            started, cpu = time.perf_counter(), _cpu_s(pids)
            for store in stores:
                while await self._ask(store, BEHIND, self.refs[-64:], self.each):  # every partition's last are in these
                    await pause(pids)
            left = self.changes - before // len(stores)
            return Run(left, time.perf_counter() - started, _cpu_s(pids) - cpu)

    async def _ask(self, store: asyncpg.Connection, statement: str, *values: object) -> int:
        return int(await store.fetchval(statement.format(table=self.table), *values) or 0)


@asynccontextmanager
async def running(asked: Mapping[str, Process]) -> AsyncIterator[list[int]]:
    """Run these programs; yield their process ids, and end them after."""
    started = [
        await asyncio.create_subprocess_exec(one.program, *one.argv, env=inherited() | one.env)
        for one in asked.values()
    ]
    try:
        yield [process.pid for process in started]
    finally:
        for process in started:
            if process.returncode is None:
                process.terminate()
        await asyncio.gather(*(asyncio.wait_for(process.wait(), 20) for process in started))


async def pause(pids: Iterable[int]) -> None:
    """Wait for the next look; raise RuntimeError when one of `pids` has ended."""
    for pid in pids:
        if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2][0] == "Z":
            raise RuntimeError(f"process {pid} ended before its work was done; what it said is above")
    await asyncio.sleep(POLL_S)


def _cpu_s(pids: Iterable[int]) -> float:
    return sum(cpu_s(pid) for pid in pids)

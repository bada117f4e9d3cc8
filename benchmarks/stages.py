"""Where a change is on its way, and who works for it.

Produce times out of Kafka, commit times out of PostgreSQL, processor time out of /proc.
"""

import asyncio
import os
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer

from benchmarks import servers
from schemas.topics import affiliate_topic
from services.devstack import pids
from services.devstack.environment import ALL
from services.devstack.provision import AFFILIATES
from services.devstack.system import System

TICKS = os.sysconf("SC_CLK_TCK")
COMMIT_TIMEOUT_S = 300.0
REST_TIMEOUT_S = 900.0
REST_WINDOW_S = 2.0
AT_REST = 2.0
"""Times what our processes spend when idle. Ten changes a second cost four times that."""
COMMITTED = """
SELECT member_ref::text, seq, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at FROM member
WHERE member_ref = ANY($1::uuid[])
"""
Key = tuple[str, int]
"""A change: its member and number."""
Times = dict[Key, float]
"""When it was there, in Unix seconds."""
Load = dict[str, float]
"""How many cores a process kept busy, by its name."""


async def produced(bootstrap: str, wanted: Iterable[Key], since: float) -> Times:
    """Return when the last affiliate's record of each change was first handed to Kafka, to the millisecond.

    All of them were after `since`, in Unix seconds. Raises KeyError when one was not.
    """
    return _last([await _first_times(bootstrap, affiliate_topic(one), since) for one in AFFILIATES], wanted)


async def _first_times(bootstrap: str, topic: str, since: float) -> Times:
    consumer: Any = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        begins = await consumer.offsets_for_times(dict.fromkeys(ends, int(1000 * since)))
        for at, end in ends.items():
            consumer.seek(at, begins[at].offset if begins[at] else end)
        found: Times = {}
        while any([await consumer.position(at) < end for at, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    seq = int(dict(record.headers)["ce_sequence"])
                    found.setdefault((record.key.decode(), seq), record.timestamp / 1000)
        return found
    finally:
        await consumer.stop()


async def committed(stores: Sequence[str], wanted: Set[Key]) -> Times:
    """Wait until every store has every change; return when the last one had. Raises TimeoutError."""
    refs = [ref for ref, _ in wanted]
    async with asyncio.timeout(COMMIT_TIMEOUT_S):
        while True:
            rows = [await servers.fetch(store, COMMITTED, refs) for store in stores]
            found = [{(row["member_ref"], row["seq"]): row["at"] for row in store} for store in rows]
            if all(wanted <= store.keys() for store in found):
                return _last(found, wanted)
            await asyncio.sleep(0.5)


def _last(found: Sequence[Times], wanted: Iterable[Key]) -> Times:
    return {key: max(one[key] for one in found) for key in wanted}


async def load(system: System, seconds: float) -> Load:
    """Watch the system and its servers for so long."""
    before = processors(system, ALL)
    await asyncio.sleep(seconds)
    return {name: (ms - before[name]) / seconds / 1000 for name, ms in processors(system, ALL).items()}


async def rest(system: System, idle: Load) -> None:
    """Wait until our processes have nothing left to do: together they spend less than `AT_REST` times `idle`.

    Receipts are still on their way to the audit log when the last store has a change. Raises TimeoutError.
    """
    async with asyncio.timeout(REST_TIMEOUT_S):
        while True:
            busy = await load(system, REST_WINDOW_S)
            if sum(busy[name] for name in ALL) < AT_REST * sum(idle[name] for name in ALL):
                return


def processors(system: System, names: Iterable[str]) -> dict[str, float]:
    """Return the processor milliseconds so far of these processes, of Kafka and of PostgreSQL with its backends.

    Those of a backend that has ended are in its parent's.
    """
    found = {name: _spent(system.pid(name)) for name in names}
    for name in ("kafka", "postgres"):
        record = pids.read(system.base_dir / "run", name)
        assert record
        found[name] = sum(_spent(pid) for pid in (record.pid, *_children(record.pid)))
    return found


def _spent(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return 1000 * sum(int(fields[i]) for i in (11, 12, 13, 14)) / TICKS


def _children(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

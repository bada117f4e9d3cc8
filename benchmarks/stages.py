"""Where a change is on its way, and who works for it: produce times out of Kafka, processor time out of /proc."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer

from schemas.topics import affiliate_topic
from services.devstack import pids
from services.devstack.system import System

TICKS = os.sysconf("SC_CLK_TCK")


Times = dict[tuple[str, int], float]
"""(member, seq) -> Unix seconds, to the millisecond."""


async def produced(bootstrap: str, affiliates: Iterable[str]) -> list[Times]:
    """Return, by affiliate, when each change's record was first handed to Kafka."""
    return [await _first_times(bootstrap, affiliate_topic(one)) for one in affiliates]


async def _first_times(bootstrap: str, topic: str) -> Times:
    consumer: Any = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: Times = {}
        while any([await consumer.position(at) < end for at, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    seq = int(dict(record.headers)["ce_sequence"])
                    found.setdefault((record.key.decode(), seq), record.timestamp / 1000)
        return found
    finally:
        await consumer.stop()


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

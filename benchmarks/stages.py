"""Where a change is on its way, and who works for it: produce times out of Kafka, processor time out of /proc."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer

from benchmarks.servers import cpu_s
from schemas.topics import affiliate_topic
from services.devstack.system import System


async def produced(bootstrap: str, affiliates: Iterable[str]) -> list[dict[str, float]]:
    """Return, by affiliate, when the first record of each member was handed to Kafka (Unix seconds, to the ms)."""
    return [await _first_times(bootstrap, affiliate_topic(one)) for one in affiliates]


async def _first_times(bootstrap: str, topic: str) -> dict[str, float]:
    consumer: Any = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: dict[str, float] = {}
        while any([await consumer.position(at) < end for at, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    found.setdefault(record.key.decode(), record.timestamp / 1000)
        return found
    finally:
        await consumer.stop()


def processors(system: System, names: Iterable[str]) -> dict[str, float]:
    """Return the processor seconds so far of our processes, and of all that belongs to Kafka and PostgreSQL."""
    found = {name: cpu_s(system.pid(name)) for name in names} | {"kafka": 0.0, "postgres": 0.0}
    for name, spent in _children(os.getpid()):
        kind = {"java": "kafka", "postgres": "postgres"}.get(name)
        if kind is not None:
            found[kind] += spent
    return found


def _children(root: int) -> list[tuple[str, float]]:
    """Return name and processor seconds, with those of children that have ended, of every process below `root`."""
    known = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has just ended
                name, _, rest = (folder / "stat").read_text(errors="replace").partition("(")[2].rpartition(") ")
                known[int(folder.name)] = (name, rest.split())
    below = {root}
    while more := {pid for pid, (_, fields) in known.items() if int(fields[1]) in below} - below:
        below |= more
    tick = os.sysconf("SC_CLK_TCK")
    return [(known[pid][0], sum(map(int, known[pid][1][11:15])) / tick) for pid in below - {root} if pid in known]

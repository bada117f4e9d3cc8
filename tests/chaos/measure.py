"""Figures of a run: how long changes took, how long recovery took, what was read or sent twice, what memory did."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import FACTS, NOTICES, RECEIPTS, affiliate_topic
from tests.chaos.installation import Installation
from tests.chaos.load import Timed
from tests.support.expected import AFFILIATES

LOOK_S = 0.5
SAMPLE_S = 5.0
PAGE_BYTES = 4096
UNANSWERED = """
SELECT DISTINCT change_id::text FROM delivery WHERE kind = 'affiliate' AND stage IN ('accepted', 'relayed')
"""
TOPICS = (*(affiliate_topic(a) for a in AFFILIATES), FACTS, NOTICES, RECEIPTS)


@dataclass
class Measures:
    """What was seen. `done` is by change the monotonic second at which every affiliate was known to have answered."""

    done: dict[str, float] = field(default_factory=dict)
    lag: list[tuple[float, int]] = field(default_factory=list)
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    reread: dict[tuple[str, int], float] = field(default_factory=dict)


async def watch_answers(system: Installation, expected: Timed, measures: Measures) -> None:
    """Note when each change has been answered by every affiliate, as the ledger sees it: an upper bound."""
    connection: asyncpg.Connection | None = None
    while True:
        asked = list(expected.at)
        try:
            connection = connection or await asyncpg.connect(system.described()["databases"]["consent"], timeout=5)
            waiting = {row["change_id"] for row in await connection.fetch(UNANSWERED, timeout=5)}
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            connection = None  # a fault of this run: the next look asks again
        else:
            now = time.monotonic()
            for change_id in asked:
                if change_id not in waiting:
                    measures.done.setdefault(change_id, now)
            measures.lag.append((system.second(), len(waiting)))
        await asyncio.sleep(LOOK_S)


async def watch_processes(system: Installation, measures: Measures) -> None:
    """Sample the memory of each process and how many records the propagators have read twice."""
    async with httpx.AsyncClient(timeout=2) as client:
        while True:
            for name, pid in system.pids().items():
                with contextlib.suppress(OSError, IndexError):  # it ended meanwhile
                    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                    measures.memory.setdefault(f"{name}/{pid}", []).append(
                        (system.second(), pages * PAGE_BYTES / 2**20)
                    )
            for name in system.workers():
                with contextlib.suppress(httpx.HTTPError, KeyError):
                    pid = system.pid(name)
                    measures.reread[name, pid] = _duplicates((await client.get(f"{system.url(name)}/metrics")).text)
            await asyncio.sleep(SAMPLE_S)


def _duplicates(metrics: str) -> float:
    lines = [n for n in metrics.splitlines() if n.startswith("dongui_propagator_records_total") and '"duplicate"' in n]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def sent_twice(bootstrap: str) -> int:
    """Count the records on the topics whose id was there before: what relays sent again."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, p) for topic in TOPICS for p in range(8)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        left, ids, again = sum(ends.values()), set[tuple[str, bytes]](), 0
        while left > 0:
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                left -= len(records)
                for record in records:
                    key = (tp.topic, dict(record.headers).get("ce_id", b""))
                    again += key in ids
                    ids.add(key)
        return again
    finally:
        await consumer.stop()


def propagation(expected: Timed, measures: Measures, only: set[str] | None = None) -> dict[str, float]:
    """Return count, p50, p99 and maximum of the seconds from the 2xx to the last affiliate, known by the ledger."""
    took = sorted(
        measures.done[c] - at for c, at in expected.at.items() if c in measures.done and (not only or c in only)
    )
    if not took:
        return {"count": 0}
    return {"count": len(took), "p50": _at(took, 0.5), "p99": _at(took, 0.99), "max": round(took[-1], 2)}


def _at(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)


def longest_recovery(expected: Timed, measures: Measures, ended: Sequence[tuple[float, str]], began: float) -> Any:
    """From a fault's end until everything accepted before it was in every store: the longest (seconds, after what)."""
    longest, after = 0.0, ""
    for second, fault in ended:
        end = began + second
        before = [measures.done[c] for c, at in expected.at.items() if at <= end and c in measures.done]
        took = max(before, default=end) - end
        if took > longest:
            longest, after = took, fault
    return {"seconds": round(longest, 2), "after": " ".join(after.split()[2:])}


def slope_mb_per_hour(samples: Sequence[tuple[float, float]]) -> float | None:
    """Least squares over the second half of a process's life; None for fewer than ten samples."""
    half = samples[len(samples) // 2 :]
    if len(half) < 10:
        return None
    n, xs, ys = len(half), [s for s, _ in half], [m for _, m in half]
    mean_x, mean_y = sum(xs) / n, sum(ys) / n
    spread = sum((x - mean_x) ** 2 for x in xs)
    return round(sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread * 3600, 2)

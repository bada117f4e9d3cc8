"""Verifies the whole log again and again inside the audit process, at leisure, and raises an alarm.

One round reads every entry, recomputes the tree, and compares with the stored subtrees, with every stored checkpoint,
and with the notes and leaf hashes kept outside. The result is a row of `verification`, metrics, an error in the log of
the process, and the process is no longer ready. Nothing is repaired: what happened is for people to find out.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg
import structlog
from prometheus_client import Gauge

from services.audit import kept, tree
from services.audit.checkpoint import CheckpointError, Verifier, open_checkpoint
from services.audit.leaf import searched
from services.audit.notary import FOLDER
from services.audit.store import SQL
from services.audit.walk import FINDINGS_MAX, MALFORMED, Heads, Report, Walk
from services.runtime.clock import Clock

BATCH = 500
REST = 3.0
"""After each batch the round rests this many times as long as the batch took: it shares the process with the API."""

VERIFIED_SIZE = Gauge("dongui_audit_verified_size", "Leaves covered by the last verification of the whole log")
VERIFIED_AT = Gauge("dongui_audit_verified_seconds", "Unix time of the last verification of the whole log")
TAMPERED = Gauge("dongui_audit_tampered", "1 when the last verification found the log changed")
FIRST_BAD = Gauge("dongui_audit_first_bad_index", "First bad leaf of the last verification, -1 for none")
log = structlog.get_logger("audit")


@dataclass
class Patrol:
    """Walks the log. `agrees` is what the last round found; True before the first."""

    pool: asyncpg.Pool
    key: Verifier
    data_dir: Path
    clock: Clock
    rest: float = REST
    agrees: bool = True

    async def round(self) -> Report:
        """Verify everything that a checkpoint covers and note the result."""
        started = time.monotonic()
        report = Report("log")
        heads = await self._heads(report)
        walk = Walk(report, heads, kept.leaves(self.data_dir / FOLDER))
        spoilt = await self._walk(walk, report, heads.largest)
        walk.end()
        _add_nodes(report, spoilt)
        await self._note(report, time.monotonic() - started)
        return report

    async def _heads(self, report: Report) -> Heads:
        """Return the newest checkpoints, inside and outside. The outside ones are what the owner cannot touch."""
        found = Heads()
        stored = await self.pool.fetch(SQL["newest_notes"], kept.NOTES_MAX)
        outside = await asyncio.to_thread(kept.notes, self.data_dir / FOLDER)
        for notes, code in (([row["note"] for row in stored], "bad_checkpoint"), (outside, "bad_outside_checkpoint")):
            for note in notes:
                try:
                    found.add(open_checkpoint(note, self.key))
                except CheckpointError:
                    report.add(code)
        report.checkpoints = len(found.by_size)
        return found

    async def _walk(self, walk: Walk, report: Report, size: int) -> list[tree.Node]:
        """Walk up to the newest checkpoint (the rest is still being written); return the subtrees stored otherwise."""
        spoilt: list[tree.Node] = []
        while walk.grown.size < size:
            started = time.monotonic()
            rows = await self.pool.fetch(SQL["list_columns"], walk.grown.size - 1, size, BATCH)
            made, whole = await asyncio.to_thread(_take, walk, report, rows)
            spoilt += (await self._spoilt(made))[: FINDINGS_MAX - len(spoilt)]
            if not whole or not rows:
                break
            await asyncio.sleep((time.monotonic() - started) * self.rest)
        return spoilt

    async def _spoilt(self, made: Sequence[tree.Node]) -> list[tree.Node]:
        """Return the recomputed subtrees that are stored otherwise, or not: proofs are made of the stored ones."""
        rows = await self.pool.fetch(SQL["read_nodes"], [n[0] for n in made], [n[1] for n in made])
        stored = {(row[0], row[1]): bytes(row[2]) for row in rows}
        return [node for node in made if stored.get(node[:2]) != node[2]]

    async def _note(self, report: Report, seconds: float) -> None:
        first, at = report.first_bad_index, self.clock()
        self.agrees = report.ok
        TAMPERED.set(0 if report.ok else 1)
        FIRST_BAD.set(-1 if first is None else first)
        VERIFIED_SIZE.set(report.size)
        VERIFIED_AT.set(at.timestamp())
        if not report.ok:
            codes = sorted({finding.code for finding in report.findings})
            log.error("audit_log_tampered", first_bad_index=first, codes=codes)
        findings = [asdict(finding) for finding in report.findings]
        await self.pool.execute(SQL["insert_verification"], at, report.size, seconds, report.ok, first, findings)


def _add_nodes(report: Report, spoilt: Sequence[tree.Node]) -> None:
    """Name subtrees that are wrong by themselves: one over a leaf that is wrong differs because of it."""
    first = report.first_bad_index
    for level, index, _ in spoilt:
        start, until = index << level, (index + 1) << level
        if first is None or until <= first:
            report.add("node_differs", start, until)


def _take(walk: Walk, report: Report, rows: Sequence[asyncpg.Record]) -> tuple[list[tree.Node], bool]:
    """Hand a batch to the walk; return the subtrees it completed, and whether no entry was missing."""
    made: list[tree.Node] = []
    for row in rows:
        nodes = walk.take(row["index"], bytes(row["leaf_hash"]), bytes(row["body"]))
        if nodes is None:
            return made, False
        made += nodes
        if not _is_found_by_its_columns(row):
            report.add("column_differs", row["index"], row["index"] + 1)
    return made, True


def _is_found_by_its_columns(row: asyncpg.Record) -> bool:
    """Whether the columns say what the body says: else a query would miss the entry, or show it for another's."""
    try:
        told = searched(bytes(row["body"]))
    except MALFORMED:
        return False
    return all(row[name] == value for name, value in told.items())


async def watch(patrol: Patrol, interval_s: float, stop: asyncio.Event) -> None:
    """Make a round now and every `interval_s` after its end, until `stop`."""
    while not stop.is_set():
        await patrol.round()
        try:
            await asyncio.wait_for(stop.wait(), interval_s)
        except TimeoutError:
            continue

"""The same changes to the same three stores by what a user would have picked instead, beside ours, in turn.

Ours are the real propagators with every guarantee on; a peer reads the same projections in clear and upserts them
(`peer`). A rate is changes a second, each to three stores: rows a second are three times that.
"""

import itertools
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final

from benchmarks import debezium, harness, quix, servers
from benchmarks.apply import FORMS, Bench
from benchmarks.fetched import NotInstalledError
from benchmarks.harness import Run
from benchmarks.peer import CREATE, LACKS, PREFIX, TABLE, Peer, Ready, flat, labels
from benchmarks.servers import Servers
from services.devstack.provision import AFFILIATES

PEERS: Final[dict[str, Ready]] = {"quix": quix.ready, "debezium": debezium.ready}
WARM_UP: Final = 2
"""Rounds that do not count: a JVM compiles what it does often."""
ROWS: Final = "SELECT count(*), min(seq), max(seq) FROM peer_member"


async def measure(events: int, members: int, peer: str, runs: int) -> dict[str, Any]:
    """Return all rates in changes a second, and ours by each peer's.

    A peer that cannot be had is named in `missing`; the one that was asked for by name raises NotInstalledError.
    """
    if peer != "all" and peer not in PEERS:
        raise ValueError(f"--peer must be one of all, {', '.join(PEERS)}")
    async with servers.running(AFFILIATES) as on, AsyncExitStack() as stack:
        ready, missing = await _ready(stack, on, peer)
        bench = Bench.of(on, events, members)
        await bench.fill({"sealed-": FORMS["sealed-"], PREFIX: flat})
        sides = {name: _Side(bench, on, one).run for name, one in ready.items()}
        figures = await harness.in_turn({"ours": bench.ours, **sides}, runs=runs, warm_up=WARM_UP)
    return {
        "name": "peers",
        "workload": bench.workload,
        "peers": {name: one.is_called for name, one in ready.items()},
        "missing": missing,
        "lacks": LACKS,
        **figures,
    }


async def _ready(stack: AsyncExitStack, on: Servers, asked: str) -> tuple[dict[str, Peer], dict[str, str]]:
    ready: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name, bring in PEERS.items():
        if asked not in ("all", name):
            continue
        try:
            ready[name] = await stack.enter_async_context(bring(on))
        except NotInstalledError as error:
            if asked == name:
                raise
            missing[name] = str(error)
            sys.stderr.write(f"LEFT OUT, {name}: {error}\n")
    return ready, missing


class _Side:
    """A peer that works off the backlog of `bench` again and again into fresh databases."""

    def __init__(self, bench: Bench, on: Servers, peer: Peer) -> None:
        self._backlog = replace(bench.backlog, table=TABLE)
        self._on = on
        self._peer = peer
        self._number = itertools.count()

    async def run(self) -> Run:
        """Work it off once. Raises AssertionError when a store is not exactly right after."""
        number = next(self._number)
        names = {a: f"{self._peer.name}_{number}_{a}" for a in AFFILIATES}
        for name in names.values():
            await servers.execute(self._on.access.admin_dsn, f'CREATE DATABASE "{name}"')
            await servers.execute(self._on.admin_dsn(name), CREATE)
        async with self._peer.applying(self._on, names) as pids:
            run = await self._backlog.worked_off(map(self._on.admin_dsn, names.values()), pids)
        for name in names.values():
            await self._check(name)
        return run

    async def _check(self, name: str) -> None:
        each, members = self._backlog.each, len(self._backlog.refs)
        found = [tuple(row) for row in await servers.fetch(self._on.admin_dsn(name), ROWS)]
        if found != [(members, each, each)]:
            raise AssertionError(f"members, least and greatest seq are {found}")


def table(result: Mapping[str, Any]) -> str:
    """Return the result as a table for people."""
    lines = [f"{'changes to three stores/s':<46}{'median':>9}{'least':>9}{'most':>9}{'spread':>8}{'ours by it':>12}"]
    for name, label in labels(result).items():
        figures = result[name]["per_s"]
        shown = "".join(f"{figures[key]:>9,.0f}" for key in ("median", "min", "max"))
        ratio = f"{result['ratio'][name]['median']:>12.2f}" if name != "ours" else ""
        cpu = f"   {result[name]['cpu_us_per_event']['median']:,.0f} µs of processor a change, the database's apart"
        lines.append(f"{label:<46}{shown}{figures['spread']:>8.0%}{ratio}{cpu}")
    lines += [f"LEFT OUT, {name}: {why}" for name, why in result["missing"].items()]
    lines.append("what a peer does not do: " + "; ".join(result["lacks"]))
    return "\n".join([*lines, harness.circumstances(result)]) + "\n"

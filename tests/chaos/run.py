"""One run: a fresh system, load at a rate, the faults of a seed, then the oracle. The result is a plain dictionary."""

import asyncio
import contextlib
import os
import platform
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.chaos import measure
from tests.chaos.faults import Faults
from tests.chaos.installation import PROCESSES, Installation, installed
from tests.chaos.load import Load
from tests.chaos.measure import Measures
from tests.chaos.oracle import ChaosOracle, settled
from tests.chaos.schedule import CUTS, KILLS, KINDS, SOAK, schedule

SETTLE_S = 240.0
TAIL_S = 3.0
EXPECTED_STATUS = {-9, -15, 0, 70, 71}
"""Statuses with which our processes may end: by a signal, in order, or leaving without acknowledging."""


@dataclass(frozen=True)
class Plan:
    """What to run: `rate` in changes per second, `seconds` of load."""

    seed: int
    seconds: float
    rate: float
    soak: bool = False

    def command(self) -> str:
        """The command that runs the same faults again."""
        rate = f"--minutes {self.seconds / 60:g} --rate {self.rate:g}"
        return f"python -m tests.chaos {'--soak ' if self.soak else ''}--seed {self.seed} {rate}"


async def run(plan: Plan, logs: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Run a plan; return its figures, with `differences` empty when all is as promised. Keep its logs below `logs`."""
    kinds = SOAK if plan.soak else tuple(KINDS)
    faults = schedule(plan.seed, plan.seconds, kinds=kinds, scale=3.0 if plan.soak else 1.0)
    say(f"# {plan.command()}")
    async with installed(say=say) as system:
        told = system.described()
        load = Load(told["consent_url"], told["tokens"]["service"], plan.seed, plan.rate)
        doing, measures, oracle = Faults(system, say), Measures(), ChaosOracle(told)
        begun = time.monotonic()
        async with _beside(_watchers(system, load, measures)):
            await _under_load(load, doing.carry_out(faults), plan.seconds)
            accepted_in = time.monotonic() - begun
            say(f"{len(load.expected.changes)} changes accepted; settling ...")
            differences = await settled(oracle, load.expected, SETTLE_S)
            settled_in = time.monotonic() - begun - accepted_in
            await asyncio.sleep(measure.SAMPLE_S)
        differences += _odd_ends(system) + await _not_ready(system)
        again = await measure.sent_twice(system.stack.bootstrap)
        found = _figures(plan, load, measures, doing, system) | {
            "differences": differences,
            "settled_in_s": round(settled_in, 1),
            "changes_per_s": round(len(load.expected.changes) / accepted_in, 1),
        }
        found["duplicates"] |= {"sent_again_by_relays": again, "notices_sent_again": oracle.resent}
        found["notices"] = {"owed": len(load.expected.notices), "overtaken": oracle.overtaken}
        shutil.rmtree(logs, ignore_errors=True)
        shutil.copytree(system.base_dir / "log", logs)
        if differences:
            _tell(system, differences, say)
    return found


def _watchers(system: Installation, load: Load, measures: Measures) -> list[Any]:
    return [
        system.supervise(),
        measure.watch_answers(system, load.expected, measures),
        measure.watch_processes(system, measures),
    ]


@contextlib.asynccontextmanager
async def _beside(watchers: Sequence[Any]) -> AsyncIterator[None]:
    """Run watchers while the block runs; one that fails is the harness's own fault and ends the run."""
    tasks = [asyncio.create_task(one) for one in watchers]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _under_load(load: Load, faults: Any, seconds: float) -> None:
    began = time.monotonic()
    living = asyncio.create_task(load.run())
    try:
        await faults
        await asyncio.sleep(max(TAIL_S, seconds - (time.monotonic() - began)))
        load.stop()
        await living
    finally:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)


def _odd_ends(system: Installation) -> list[str]:
    left = [one for one in system.watch.left if one.status not in EXPECTED_STATUS]
    return [f"{one.name} ended by itself with status {one.status} at {one.at_s} s" for one in left]


async def _not_ready(system: Installation) -> list[str]:
    """Every process serves in the end."""

    async def answer(name: str) -> str | None:
        try:
            await system.wait_ready(name)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            return f"{name} is not ready: {type(error).__name__}"
        return None

    return [found for found in await asyncio.gather(*(answer(name) for name in PROCESSES)) if found]


def _figures(plan: Plan, load: Load, measures: Measures, doing: Faults, system: Installation) -> dict[str, Any]:
    expected, done = load.expected, doing.done
    return {
        "plan": asdict(plan),
        "command": plan.command(),
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}, load average {os.getloadavg()[1]:.1f}",
        "changes": len(expected.changes),
        "members": len(expected.people),
        "faults": dict(sorted(done.items())),
        "left_out": dict(doing.left_out),
        "kills": sum(done[name] for name in KILLS),
        "partitions": sum(done[name] for name in CUTS),
        "connections_cut": sum(proxy.cuts for proxy in (system.kafka_net, *system.net.values())),
        "ended_by_themselves": [asdict(one) for one in system.watch.left],
        "servers_restarted": system.watch.servers_restarted,
        "duplicates": {"read_again_by_workers": round(sum(measures.reread.values()))},
        "propagation_s": measure.propagation(expected, measures),
        "revocations_s": measure.propagation(expected, measures, expected.revocations),
        "recovery": measure.longest_recovery(expected, measures, doing.ended, system.began),
        "lag_max": max((n for _, n in measures.lag), default=0),
        "lag_end": measures.lag[-1][1] if measures.lag else 0,
        "memory": _memory(measures) if plan.soak else {},
    }


def _memory(measures: Measures) -> dict[str, Any]:
    """By process that lived through: MB at the first and the last sample, and the slope of the second half."""
    return {
        name.partition("/")[0]: {
            "first_mb": round(samples[0][1]),
            "last_mb": round(samples[-1][1]),
            "mb_per_hour": measure.slope_mb_per_hour(samples),
        }
        for name, samples in measures.memory.items()
        if len(samples) >= 10
    }


def _tell(system: Installation, differences: list[str], say: Callable[[str], None]) -> None:
    for line in differences[:50]:
        say(f"DIFFERS {line}")
    for log in sorted((system.base_dir / "log").glob("*.log")):
        text = log.read_text(errors="replace").splitlines()
        say(f"--- {log.name}")
        for line in text[-15:]:
            say(line[:600])

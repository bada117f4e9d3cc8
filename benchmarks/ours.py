"""Our side of `latency`: a whole system that changes are sent to, run after run, at rest before each."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks import members, paced, servers, stages
from benchmarks.paced import Answers
from benchmarks.servers import Servers
from benchmarks.stages import Load, Times
from services.devstack.environment import ALL
from services.devstack.provision import AFFILIATES
from services.devstack.system import System

PATIENCE = 5
"""Times a run's seconds until what has no answer is given up."""
IMPORT_TIMEOUT_S = 900.0
IDLE_S = 5.0
HOW_MANY = "SELECT count(*) FROM member"
REFS = "SELECT member_ref::text FROM member ORDER BY member_ref"


@dataclass(frozen=True)
class Ran:
    """One run: its answers and in how many seconds, and when the last affiliate's record was produced and committed.

    `cpu_ms` are processor milliseconds by process, without what it spends idle.
    """

    answers: Answers
    took_s: float
    produced: Times
    committed: Times
    cpu_ms: dict[str, float]


class Ours:
    """A system at rest that spends `idle` there, and members whose names no run has corrected yet."""

    def __init__(self, system: System, idle: Load, refs: Sequence[str], sign_up_every: int) -> None:
        self.idle = idle
        self._system = system
        self._refs = list(refs)
        self._sign_up_every = sign_up_every

    async def run(self, rate: float, seconds: float) -> Ran:
        """Send changes to members whose turn it is; return when the system is at rest again."""
        described, count = self._system.described(), int(rate * seconds)
        refs, self._refs = self._refs[:count], self._refs[count:]
        made = paced.requests(refs, self._sign_up_every, described["tokens"]["service"])
        port = urlsplit(described["consent_url"]).port or 0
        before, since = stages.processors(self._system, ALL), time.time()
        answers = await paced.sent(port, made, rate, PATIENCE * seconds)
        took_s, wanted = time.time() - since, {a.key for a in answers.all}
        committed = await stages.committed(_stores(self._system), wanted)
        lasted, after = time.time() - since, stages.processors(self._system, ALL)
        cpu_ms = {name: ms - before[name] - 1000 * lasted * self.idle[name] for name, ms in after.items()}
        await stages.rest(self._system, self.idle)
        return Ran(answers, took_s, await stages.produced(described["kafka"], wanted, since), committed, cpu_ms)


async def ready(system: System, count: int, sign_up_every: int) -> Ours:
    """See what a fresh system spends idle, then give it so many members, in every store.

    Raises TimeoutError.
    """
    await asyncio.sleep(IDLE_S)
    idle = await stages.load(system, IDLE_S)
    on = Servers(system.stack, system.installation.access, system.base_dir)
    await members.sign_up(on, count)
    async with asyncio.timeout(IMPORT_TIMEOUT_S):
        while min([(await servers.fetch(store, HOW_MANY))[0][0] for store in _stores(system)]) < count:
            await asyncio.sleep(1)
    await stages.rest(system, idle)
    refs = [row["member_ref"] for row in await servers.fetch(on.admin_dsn("consent"), REFS)]
    return Ours(system, idle, refs, sign_up_every)


def _stores(system: System) -> list[str]:
    return [system.described()["databases"]["affiliates"][a] for a in AFFILIATES]

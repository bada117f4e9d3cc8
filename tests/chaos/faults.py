"""Carries faults out: each begins, lasts, and is taken back whatever happened meanwhile."""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import asyncpg
from aiokafka.errors import KafkaError

from services.devstack.errors import DevstackError
from services.devstack.kafka import Kafka
from services.devstack.postgres import Postgres
from tests.chaos import clocked
from tests.chaos.installation import Installation, own_disk
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import Fault

PERSISTENCE_S = 150.0
TOP_UP_S = 0.1


class Faults:
    """Does to one installation what a schedule says; `done` counts by kind, `ended` are the seconds faults ended."""

    def __init__(self, system: Installation, say: Callable[[str], None]) -> None:
        self._system = system
        self._say = say
        self.done: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.ended: list[tuple[float, str]] = []
        self._kinds: Final[dict[str, Callable[[Fault], Awaitable[None]]]] = {
            "kill": self._kill,
            "term": self._term,
            "freeze": self._freeze,
            "worker": self._worker,
            "clock": self._clock,
            "database_kill": self._database_kill,
            "database_away": self._database_away,
            "broker_kill": self._broker_kill,
            "broker_freeze": self._broker_freeze,
            "disk_full": self._disk_full,
            "commits_refused": self._commits_refused,
            **{f"{net}_{how}": self._wire for net in ("postgres", "kafka") for how in ("slow", "cut", "stall")},
        }

    async def carry_out(self, faults: list[Fault]) -> None:
        """Carry a schedule out, each fault at its second; return when the last one has been taken back."""
        async with asyncio.TaskGroup() as tasks:
            for fault in faults:
                tasks.create_task(self._one(fault))

    async def _one(self, fault: Fault) -> None:
        await asyncio.sleep(max(0.0, fault.at_s - self._system.second()))
        if fault.kind == "disk_full" and not own_disk(self._system.base_dir):
            self.left_out[fault.kind] += 1
            return
        self._say(str(fault))
        await self._kinds[fault.kind](fault)
        self.done[fault.kind] += 1
        self.ended.append((self._system.second(), str(fault)))

    # On processes.

    async def _kill(self, fault: Fault) -> None:
        if self._system.running(fault.target):
            self._system.kill(fault.target)
        await self._again(fault)

    async def _term(self, fault: Fault) -> None:
        await self._system.stop_process(fault.target)
        await self._again(fault)

    async def _again(self, fault: Fault) -> None:
        await asyncio.sleep(fault.for_s)

        async def start() -> None:
            if not self._system.running(fault.target):
                self._system.start_process(fault.target)

        await _persist(start)

    async def _freeze(self, fault: Fault) -> None:
        if self._system.running(fault.target):
            await self._frozen(self._system.pid(fault.target), fault.for_s)

    async def _frozen(self, pid: int, seconds: float) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    async def _worker(self, fault: Fault) -> None:
        """Two rebalances: one worker more, then killed or stopped."""
        made: list[str] = []

        async def start() -> None:
            made.append(self._system.start_extra(fault.target))

        await _persist(start)
        name = made[-1]
        await asyncio.sleep(fault.for_s)
        if self._system.running(name):
            await self._system.stop_process(name, signal.SIGKILL if fault.for_s > 8 else signal.SIGTERM)

    async def _clock(self, fault: Fault) -> None:
        file = self._system.clock_of(fault.target)
        clocked.set_ahead(file, fault.size)
        try:
            await asyncio.sleep(fault.for_s)
        finally:
            clocked.set_ahead(file, 0.0)

    # On servers.

    async def _database_kill(self, fault: Fault) -> None:
        postgres = self._system.stack.postgres
        async with self._down("postgres"):
            await postgres.stop(signal.SIGKILL)
            await asyncio.sleep(fault.for_s)
            await _started(postgres)

    async def _database_away(self, fault: Fault) -> None:
        await self._allow(fault.target, allowed=False)
        try:
            await asyncio.sleep(fault.for_s)
        finally:
            await self._allow(fault.target, allowed=True)

    async def _allow(self, database: str, *, allowed: bool) -> None:
        async def act() -> None:
            connection = await asyncpg.connect(self._system.installation.access.admin_dsn)
            try:
                await connection.execute(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS {allowed}')
                if not allowed:
                    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
                    await connection.execute(cut, database)
            finally:
                await connection.close()

        await _persist(act)

    async def _broker_kill(self, fault: Fault) -> None:
        kafka = self._system.stack.kafka
        async with self._down("kafka"):
            await kafka.stop(signal.SIGKILL)
            await asyncio.sleep(fault.for_s)
            await _started(kafka)

    async def _broker_freeze(self, fault: Fault) -> None:
        async with self._down("kafka"):
            for broker in self._system.stack.kafka._children.values():
                await self._frozen(broker.pid, fault.for_s)

    @contextlib.asynccontextmanager
    async def _down(self, server: str) -> AsyncIterator[None]:
        """Have a server to oneself: a start that takes longer than planned must not meet the next fault."""
        async with self._system.servers[server]:
            yield

    async def _disk_full(self, fault: Fault) -> None:
        """Everything that writes gets ENOSPC: databases, broker, logs, checkpoints. What ends is started again."""
        async with self._down("postgres"), self._down("kafka"):
            await self._filled(fault)

    async def _filled(self, fault: Fault) -> None:
        with self._system.disk_full():
            for _ in range(round(fault.for_s / TOP_UP_S)):
                await asyncio.sleep(TOP_UP_S)
                self._system.top_up(self._system.base_dir / "ballast")

    # On wires.

    def _proxy(self, fault: Fault) -> Proxy:
        return self._system.kafka_net if fault.kind.startswith("kafka") else self._system.net[fault.target]

    async def _wire(self, fault: Fault) -> None:
        proxy, how = self._proxy(fault), fault.kind.partition("_")[2]
        if how == "stall":
            with proxy.stalled():
                await asyncio.sleep(fault.for_s)
        elif how == "slow":
            proxy.slow_s = fault.size
            await asyncio.sleep(fault.for_s)
            proxy.slow_s = 0.0
        else:
            proxy.refusing = True
            proxy.cut()
            await asyncio.sleep(fault.for_s)
            proxy.refusing = False

    async def _commits_refused(self, fault: Fault) -> None:
        self._system.kafka_net.commits_refused = True
        await asyncio.sleep(fault.for_s)
        self._system.kafka_net.commits_refused = False


async def _started(server: Kafka | Postgres) -> None:
    """Start a server; what a start that failed has left behind goes first."""

    async def act() -> None:
        await server.stop(signal.SIGKILL)
        await server.start()

    await _persist(act)


async def _persist(act: Callable[[], Awaitable[None]]) -> None:
    """Do it until it is done: other faults may be in its way."""
    async with asyncio.timeout(PERSISTENCE_S):
        while True:
            try:
                return await act()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, DevstackError, KafkaError):
                await asyncio.sleep(0.3)

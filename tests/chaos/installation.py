"""The whole system with something to pull at: a proxy on every wire, clocks that can be set, a disk that can fill."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.errors import KafkaError

from services.devstack import child
from services.devstack.child import Program
from services.devstack.environment import ALL, CONSOLE, PROPAGATORS, inherited
from services.devstack.errors import DevstackError
from services.devstack.kafka import Kafka, Node
from services.devstack.ports import HOST, free_ports
from services.devstack.stack import Stack
from services.devstack.system import System
from services.runtime.acls import propagator_principal
from tests.chaos import clocked
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import CLOCKED
from tests.support.servers import JAR_CACHE, REPOSITORY, UNSYNCED

PROCESSES = tuple(name for name in ALL if name != CONSOLE)
DISK_MB = 3072
LOOK_S = 0.5


@dataclass
class Left:
    """A process that ended by itself: at which second, its name and status."""

    at_s: float
    name: str
    status: int


@dataclass
class Watch:
    """What the supervisor saw."""

    left: list[Left] = field(default_factory=list)
    servers_restarted: list[str] = field(default_factory=list)


class Installation(System):
    """A System whose processes reach PostgreSQL and Kafka through proxies; the harness itself does not."""

    def __init__(self, base_dir: Path, *, say: Callable[[str], None]) -> None:
        stack = Stack(base_dir, jar_cache=JAR_CACHE, postgres_settings=UNSYNCED, say=say)
        kafka_port, controller, advertised, *ports = free_ports(3 + len(PROCESSES))
        node = Node(1, kafka_port, controller, advertised)
        stack.kafka = Kafka(base_dir, cache=JAR_CACHE, nodes=[node], say=say)
        # Tests put nothing into these stores that the ledger does not know: reconcile runs as it would.
        super().__init__(base_dir, stack=stack, say=say)
        self.kafka_net = Proxy(kafka_port, advertised, is_kafka=True)
        self.net = {n: Proxy(stack.postgres.port, port) for n, port in zip(PROCESSES, ports, strict=True)}
        self.watch = Watch()
        self.servers = {"kafka": asyncio.Lock(), "postgres": asyncio.Lock()}
        """Held by a fault that has a server down and will bring it up again, and by the supervisor that restarts it."""
        self.began = time.monotonic()
        self._extra_count = 0
        self._due: list[str] = []

    async def up(self) -> None:
        """Start proxies, servers and processes."""
        for name in CLOCKED:
            clocked.create(self.clock_of(name))
        await asyncio.gather(*(one.start() for one in (self.kafka_net, *self.net.values())))
        await self.stack.start()
        await self.start(PROCESSES)
        self.began = time.monotonic()

    async def halt(self) -> None:
        """Stop all of it."""
        await self.stop()
        await self.stack.stop()
        await asyncio.gather(*(one.stop() for one in (self.kafka_net, *self.net.values())))

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a process, with the proxies in place of the servers."""
        postgres = (f"{HOST}:{self.stack.postgres.port}/", f"{HOST}:{self.net[name].port}/")
        kafka = (self.stack.bootstrap, f"{HOST}:{self.kafka_net.port}")
        found = super().environment(name)
        return {k: v.replace(*postgres).replace(*kafka) for k, v in found.items()} | {"PYTHONPATH": str(REPOSITORY)}

    def _argv(self, name: str) -> list[str]:
        found = super()._argv(name)
        if name not in CLOCKED:
            return found
        return [found[0], "-m", "tests.chaos.clocked", str(self.clock_of(name)), *found[2:]]

    def clock_of(self, name: str) -> Path:
        """The file that sets a process's clock."""
        return self.base_dir / "run" / "clocks" / name

    def start_extra(self, affiliate: str) -> str:
        """Start one more worker of an affiliate; return its name."""
        self._extra_count += 1
        original, name = propagator_principal(affiliate), f"extra-{self._extra_count}"
        env = inherited() | self.environment(original) | {"DONGUI_HEALTH_PORT": "0"}
        program = Program(name, self._argv(original), self.base_dir / "log" / f"{original}.extra.log", env=env)
        self._children[name] = child.spawn(program, self.base_dir / "run")
        return name

    def pids(self) -> dict[str, int]:
        """The processes that live now, workers that were added left out."""
        return {name: self.pid(name) for name in PROCESSES if self.running(name)}

    def workers(self) -> list[str]:
        """The propagators that live now."""
        return [name for name in PROPAGATORS if self.running(name)]

    def second(self) -> float:
        """Seconds since everything was up."""
        return time.monotonic() - self.began

    async def supervise(self) -> None:
        """Start again what ended by itself, as `dongui dev up` or an orchestrator would; note it."""
        while True:
            for name in self.fallen():
                self.watch.left.append(Left(round(self.second(), 1), name, self._children.pop(name).returncode))
                if name in PROCESSES:
                    self._due.append(name)
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(OSError, DevstackError, KafkaError):  # a full disk, say: the next look tries again
                self._start_due()
                await self._start_servers()

    def _start_due(self) -> None:
        while self._due:
            if not self.running(self._due[-1]):
                self.start_process(self._due[-1])
            self._due.pop()

    async def _start_servers(self) -> None:
        for name, server in (("kafka", self.stack.kafka), ("postgres", self.stack.postgres)):
            if server.running() or self.servers[name].locked():
                continue
            async with self.servers[name]:
                await server.stop(9)
                await server.start()
                self.watch.servers_restarted.append(name)

    @contextlib.contextmanager
    def disk_full(self) -> Iterator[None]:
        """Leave no byte free on the system's disk for the block; it must be a disk of its own (`own_disk`)."""
        ballast = self.base_dir / "ballast"
        try:
            self.top_up(ballast)
            yield
        finally:
            ballast.unlink(missing_ok=True)

    def top_up(self, ballast: Path) -> None:
        """Take what is free."""
        told = os.statvfs(self.base_dir)
        with ballast.open("ab") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), file.tell(), max(1, told.f_bavail * told.f_frsize))


@contextlib.asynccontextmanager
async def installed(*, say: Callable[[str], None]) -> AsyncIterator[Installation]:
    """A fresh system below a directory of its own, a disk of its own where that is possible; stopped and removed."""
    folder = Path(tempfile.mkdtemp(prefix="dongui-chaos-"))
    folder.chmod(0o755)
    mounted = _mount(folder)
    made = Installation(folder, say=say)
    try:
        await made.up()
        yield made
    finally:
        await made.halt()
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _mount(folder: Path) -> bool:
    """Give the folder a disk of its own in memory; False where we may not (the fault `disk_full` is left out then)."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=755", "dongui-chaos", str(folder)]
    return (
        shutil.which("mount") is not None and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )


def own_disk(folder: Path) -> bool:
    """Say whether a folder is a disk of its own."""
    return folder.is_mount()

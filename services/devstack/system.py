"""One whole installation on top of a Stack: databases, topics, secrets, tokens, and all processes on a leash."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from schemas.topics import all_topics
from services.devstack import child, keyfiles, principals, topics
from services.devstack.child import Program
from services.devstack.environment import ALL, PARTNER, PROPAGATORS, WITNESS, Installation, ProcessPorts, inherited
from services.devstack.errors import DevstackError
from services.devstack.ports import require_free
from services.devstack.provision import AFFILIATES, Access, database_names, provision
from services.devstack.stack import Stack, prepare, quiet
from services.devstack.tokens import Issuer
from services.runtime import acls
from services.runtime.acls import SETUP
from services.runtime.clock import utc_now
from services.runtime.settings import Settings

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.05
PROBE_TIMEOUT = aiohttp.ClientTimeout(total=6)
REPLICAS_MAX = 3


class System:
    """All of Dongui below `base_dir`. A `stack` that is given is neither started nor stopped here.

    `port_base` None takes free ports. `secure` closes Kafka to strangers (docs/wire.md). `extra` are further variables
    by process, such as a mail server for `consent`.
    Start and stop it from the main thread (child.py says why).
    """

    def __init__(
        self,
        base_dir: Path,
        *,
        stack: Stack | None = None,
        port_base: int | None = None,
        brokers: int = 1,
        jar_cache: Path | None = None,
        say: Callable[[str], None] = quiet,
        extra: Mapping[str, Mapping[str, str]] | None = None,
        secure: bool = False,
    ) -> None:
        self.base_dir = base_dir.absolute()
        self._extra = extra or {}
        self._owns_stack = stack is None
        closed = acls.table(AFFILIATES) if secure else None
        self.stack = stack or Stack(
            self.base_dir, port_base, brokers=brokers, jar_cache=jar_cache, say=say, secure=closed
        )
        self._ports = ProcessPorts.free() if port_base is None else ProcessPorts.from_base(port_base)
        self._replicas = min(REPLICAS_MAX, brokers)
        self._say = say
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._installation: Installation | None = None

    @property
    def installation(self) -> Installation:
        """What the variables are made of; raise DevstackError before `start`."""
        if self._installation is None:
            raise DevstackError("the system was not started")
        return self._installation

    async def start(self, processes: Sequence[str] = ALL) -> None:
        """Start the servers if they are ours, make what is missing, start the processes and wait for all of them.

        Raises DevstackError; what was started is stopped again.
        """
        try:
            await self._start(processes)
        except BaseException:
            await self.stop()
            raise

    async def _start(self, processes: Sequence[str]) -> None:
        prepare(self.base_dir)
        require_free((name, self._ports.of[name]) for name in processes)
        if self._owns_stack:
            self._say("Starting Kafka and PostgreSQL ...")
            await self.stack.start(then_databases=self._databases, then_topics=self._topics)
        else:
            await asyncio.gather(self._databases(), self._topics())
        self._say(f"Starting {len(processes)} processes ...")
        for name in processes:
            self.start_process(name)
        await asyncio.gather(*(self.wait_ready(name) for name in processes))

    async def _databases(self) -> None:
        self._installation = await asyncio.to_thread(self._install)
        await provision(self._installation.access, database_names())

    async def _topics(self) -> None:
        login = self.stack.login(SETUP)
        await topics.create(self.stack.bootstrap, all_topics(AFFILIATES), replicas=self._replicas, security=login)
        if self.stack.wire:
            security = {"bootstrap_servers": self.stack.bootstrap, **login}
            await principals.create(security, self.stack.wire.passwords, acls.table(AFFILIATES))

    def _install(self) -> Installation:
        keys = keyfiles.ensure(self.base_dir / "secrets")
        passwords = self.stack.base_dir / "secrets" / "databases.json"
        access = Access.load(self.stack.postgres, passwords, database_names())
        defaults = Settings.model_fields
        issuer = Issuer(keys.issuer_key, defaults["issuer"].default, defaults["audience"].default, utc_now)
        return Installation(self.base_dir, self.stack.bootstrap, self._ports, access, keys, issuer, self.stack.wire)

    async def stop(self) -> None:
        """Stop every process, then the servers if they are ours. Harmless when nothing runs."""
        await asyncio.gather(*(self.stop_process(name) for name in list(self._children)))
        if self._owns_stack:
            await self.stack.stop()

    def environment(self, name: str) -> dict[str, str]:
        """Return the DONGUI_* variables of a process."""
        return self.installation.variables(name) | dict(self._extra.get(name, {}))

    def described(self) -> dict[str, Any]:
        """Return what `dongui dev env --format json` prints."""
        return self.installation.described()

    def start_process(self, name: str) -> None:
        """Start one process, or a node of our Kafka; `wait_ready` says when a process serves."""
        if self._owns_stack and name in self.stack.kafka.names:
            self.stack.kafka.start_node(name)
            return
        program = Program(name, self._argv(name), self._log(name), env=inherited() | self.environment(name))
        self._children[name] = child.spawn(program, self.base_dir / "run")

    async def wait_ready(self, name: str) -> None:
        """Wait for the process's /readyz; raise DevstackError with the end of its log when it ends or is too slow."""
        deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
        async with aiohttp.ClientSession(timeout=PROBE_TIMEOUT) as session:
            while not await _answers(session, f"{self._ports.url(name)}/readyz"):
                if not self.running(name):
                    raise DevstackError(f"{name} ended while starting; see {self._log(name)}\n{self._tail(name)}")
                if asyncio.get_running_loop().time() > deadline:
                    raise DevstackError(f"{name} was not ready in time; see {self._log(name)}\n{self._tail(name)}")
                await asyncio.sleep(POLL_S)

    async def stop_process(self, name: str, number: int = signal.SIGTERM) -> None:
        """Signal one process, wait, and SIGKILL it after 10 s. Harmless when it does not run."""
        process = self._children.pop(name, None)
        if process:
            await child.stop(process, number, STOP_TIMEOUT_S)

    def kill(self, name: str) -> None:
        """SIGKILL one process and reap it."""
        process = self._children.pop(name)
        process.kill()
        process.wait()

    def pid(self, name: str) -> int:
        """Return the pid of a process that was started; raise KeyError otherwise."""
        return self._children[name].pid

    def running(self, name: str) -> bool:
        """Say whether a process is alive."""
        process = self._children.get(name)
        return process is not None and process.poll() is None

    def url(self, name: str) -> str:
        """Return the base URL of a process."""
        return self._ports.url(name)

    def fallen(self) -> list[str]:
        """Return the processes, and nodes of our Kafka, that ended without having been stopped or killed here."""
        nodes = self.stack.kafka.fallen() if self._owns_stack else []
        return nodes + [name for name, process in self._children.items() if process.poll() is not None]

    def servers_running(self) -> bool:
        """Say whether PostgreSQL and most of Kafka's nodes are alive (a stack that was given is its owner's matter)."""
        return not self._owns_stack or (self.stack.kafka.running() and self.stack.postgres.running())

    def _argv(self, name: str) -> list[str]:
        python = [sys.executable, "-m"]
        if name in PROPAGATORS:
            return [*python, "services.propagator", "--affiliate", PROPAGATORS[name]]
        if name == PARTNER:
            port, store = str(self._ports.of[name]), str(self.installation.partner_store)
            return [*python, "services.devstack.partner", "--port", port, "--store", store]
        arguments = {
            "notices": ["services.propagator", "--notices"],
            WITNESS: ["services.audit.witness", "--create"],
        }
        return [*python, *arguments.get(name, [f"services.{name}"])]

    def _log(self, name: str) -> Path:
        return self.base_dir / "log" / f"{name}.log"

    def _tail(self, name: str) -> str:
        return child.tail(self._log(name))


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False

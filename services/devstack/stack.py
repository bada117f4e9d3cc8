"""The two servers together: a Kafka and a PostgreSQL below one directory, started at the same time."""

import asyncio
import platform
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.devstack import wire
from services.devstack.errors import DevstackError
from services.devstack.kafka import HEAP_MB, Kafka, Node
from services.devstack.ports import HOST, free_ports
from services.devstack.postgres import Postgres
from services.runtime.clock import utc_now

FREE_BYTES_MIN = 1024**3
PLATFORMS = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "x86_64"), ("Darwin", "arm64")}
POSTGRES_OFFSET, KAFKA_OFFSET = 3, 20
Step = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Ports:
    """The loopback ports of the two servers."""

    postgres: int
    kafka: list[tuple[int, int]]

    @classmethod
    def from_base(cls, base: int, brokers: int) -> "Ports":
        """Fixed places above a base: PostgreSQL +3; Kafka node i +20+2i, its controller +21+2i."""
        first = base + KAFKA_OFFSET
        return cls(base + POSTGRES_OFFSET, [(first + 2 * i, first + 2 * i + 1) for i in range(brokers)])

    @classmethod
    def free(cls, brokers: int) -> "Ports":
        """Any free ones."""
        found = free_ports(1 + 2 * brokers)
        return cls(found[0], list(zip(found[1::2], found[2::2], strict=True)))


def quiet(_line: str) -> None:
    """Say nothing."""


def to_stderr(line: str) -> None:
    """Say it on stderr: stdout is for data."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class Stack:
    """Real servers for a laptop, the tests and CI. Data stays below `base_dir` over restarts.

    `port_base` None takes free ports, the same over restarts of this object. `jar_cache` may be shared by stacks.
    `secure` names the principals of a Kafka that is closed to strangers; None leaves it open on loopback.
    """

    def __init__(
        self,
        base_dir: Path,
        port_base: int | None = None,
        *,
        brokers: int = 1,
        jar_cache: Path | None = None,
        say: Callable[[str], None] = quiet,
        postgres_settings: dict[str, str] | None = None,
        secure: Iterable[str] | None = None,
        heap_mb: int = HEAP_MB,
    ) -> None:
        self.base_dir = base_dir.absolute()
        ports = Ports.free(brokers) if port_base is None else Ports.from_base(port_base, brokers)
        nodes = [Node(i, *pair) for i, pair in enumerate(ports.kafka, start=1)]
        cache = (jar_cache or self.base_dir / "jars").absolute()
        secrets = self.base_dir / "secrets"
        self.wire = wire.ensure(secrets, secure, [HOST], utc_now) if secure is not None else None
        self.kafka = Kafka(self.base_dir, cache=cache, nodes=nodes, say=say, wire=self.wire, heap_mb=heap_mb)
        self.postgres = Postgres(self.base_dir, ports.postgres, settings=postgres_settings)

    @property
    def bootstrap(self) -> str:
        """Kafka's bootstrap servers."""
        return self.kafka.bootstrap

    def login(self, principal: str) -> dict[str, Any]:
        """Return what an aiokafka client needs beside the address; nothing on an open Kafka."""
        return self.wire.client(principal) if self.wire else {}

    async def start(self, *, then_databases: Step | None = None, then_topics: Step | None = None) -> None:
        """Start both at once; when one fails, stop the other and raise its DevstackError.

        What is to be made on a server is made as soon as that one is up, while the other still starts.
        """
        prepare(self.base_dir)
        postgres = _both(self.postgres.start, then_databases)
        kafka = _both(self.kafka.start, then_topics)
        results = await asyncio.gather(postgres, kafka, return_exceptions=True)
        failed = [r for r in results if isinstance(r, BaseException)]
        if failed:
            await self.stop()
            raise failed[0]

    async def stop(self) -> None:
        """Stop both; harmless when not started."""
        await asyncio.gather(self.kafka.stop(), self.postgres.stop())


async def _both(start: Step, then: Step | None) -> None:
    await start()
    if then:
        await then()


def prepare(base_dir: Path) -> None:
    """Make the directories; raise DevstackError on an unsupported platform or a full disk."""
    machine = (platform.system(), platform.machine())
    if machine not in PLATFORMS:
        raise DevstackError(
            f"the embedded stack has no servers for {machine[0]} on {machine[1]}; use docker compose up instead"
        )
    base_dir.mkdir(parents=True, exist_ok=True)
    for name, mode in (("run", 0o755), ("log", 0o755), ("secrets", 0o700)):
        (base_dir / name).mkdir(exist_ok=True, mode=mode)
    free = shutil.disk_usage(base_dir).free
    if free < FREE_BYTES_MIN:
        raise DevstackError(
            f"less than 1 GiB is free below {base_dir} ({free // 1024**2} MiB). Free some, or use --data-dir."
        )

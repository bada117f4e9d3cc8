"""A load generator that is cheap beside any server: requests made beforehand, connections kept.

`run` is a closed loop: as fast as the answers come. `Connections` is for an open one: whoever is due takes a
connection, whether or not the last one has its answer.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from benchmarks.harness import Run
from benchmarks.servers import cpu_s

CONNECTIONS: Final = 32
TIMEOUT_S: Final = 300.0


@dataclass(frozen=True)
class Server:
    """A server process: where it listens, and whose processor time counts."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Return the processor seconds the process has used (Linux)."""
        return cpu_s(self.pid)


def request(method: str, path: str, body: object, headers: dict[str, str]) -> bytes:
    """Return one HTTP/1.1 request as bytes."""
    payload = orjson.dumps(body)
    told = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(payload))} | headers
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())])
    return f"{head}\r\n\r\n".encode() + payload


async def run(server: Server, requests: Sequence[bytes], *, connections: int = CONNECTIONS) -> Run:
    """Send every request, each connection the next one as soon as it has its answer. Raises for an answer not 2xx."""
    queue = iter(requests)
    started, cpu = time.perf_counter(), server.cpu_s()
    async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_sends(server.port, queue))
    return Run(len(requests), time.perf_counter() - started, server.cpu_s() - cpu)


async def ask(server: Server, one: bytes) -> bytes:
    """Send one request on a connection of its own; return the body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(one)
        return await _answer(reader)
    finally:
        writer.close()


async def _sends(port: int, queue: Iterator[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for one in queue:
            writer.write(one)
            await _answer(reader)
    finally:
        writer.close()


_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Connections:
    """Kept connections, as many as there are requests at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Streams] = []

    async def send(self, one: bytes) -> tuple[int, bytes]:
        """Send one request; return status and body. Again when the server had closed the connection meanwhile."""
        streams = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        try:
            streams[1].write(one)
            status, body = await _read(streams[0])
        except (ConnectionError, asyncio.IncompleteReadError):
            streams[1].close()
            return await self.send(one)
        except asyncio.CancelledError:
            streams[1].close()
            raise
        self._idle.append(streams)
        return status, body

    def close(self) -> None:
        """Close what is idle."""
        for _, writer in self._idle:
            writer.close()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    status, body = await _read(reader)
    if not 200 <= status < 300:
        raise RuntimeError(f"the server answered {status}: {body[:500].decode(errors='replace')}")
    return body


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
    return int(first.split(" ")[1]), await reader.readexactly(length)

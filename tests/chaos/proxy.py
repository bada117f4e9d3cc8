"""A TCP proxy that misbehaves on demand: slow, stalled, cut, or refusing a group's commits of offsets.

One stands between each process and PostgreSQL, and one before Kafka, whose listener advertises the proxy's port.
"""

import asyncio
import contextlib
import struct
import time
from collections.abc import Iterator

from services.devstack.ports import HOST

CHUNK = 64 * 1024
OFFSET_COMMIT = 8
"""Kafka's api key of OffsetCommit: the first number of a request after its length."""
PIECES_MAX = 256
END = b""
_Piece = tuple[float, bytes]
"""When it is to be passed on (monotonic seconds), and what."""


class Proxy:
    """Forwards `HOST:port` to `HOST:upstream`. The attributes may be changed at any time.

    `slow_s`: each piece comes this much later, both ways. `refusing`: new connections are closed at once.
    `commits_refused` (Kafka only): a connection that commits offsets is cut before the broker sees it.
    """

    def __init__(self, upstream: int, port: int, *, is_kafka: bool = False) -> None:
        self.port = port
        self.slow_s = 0.0
        self.refusing = False
        self.commits_refused = False
        self.cuts = 0
        self._upstream = upstream
        self._is_kafka = is_kafka
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, HOST, self.port)

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection there is."""
        for writer in list(self._open):
            self.cuts += 1
            writer.transport.abort()

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Let nothing through, without closing anything, for the block."""
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        there, back = asyncio.Queue[_Piece](PIECES_MAX), asyncio.Queue[_Piece](PIECES_MAX)
        asks = self._requests(reader, there) if self._is_kafka else self._pieces(reader, there)
        works = [asks, self._pieces(far_reader, back), self._deliver(there, far_writer), self._deliver(back, writer)]
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.wait(tasks[2:], return_when=asyncio.FIRST_COMPLETED)  # either side is gone: so is the other
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._open -= {writer, far_writer}
            writer.transport.abort()
            far_writer.transport.abort()

    async def _pieces(self, reader: asyncio.StreamReader, way: "asyncio.Queue[_Piece]") -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(CHUNK):
                await way.put((time.monotonic() + self.slow_s, piece))
        await way.put((time.monotonic() + self.slow_s, END))

    async def _requests(self, reader: asyncio.StreamReader, way: "asyncio.Queue[_Piece]") -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(4)
                request = await reader.readexactly(struct.unpack(">i", head)[0])
                if self.commits_refused and struct.unpack(">h", request[:2])[0] == OFFSET_COMMIT:
                    self.cuts += 1
                    break
                await way.put((time.monotonic() + self.slow_s, head + request))
        await way.put((time.monotonic() + self.slow_s, END))

    async def _deliver(self, way: "asyncio.Queue[_Piece]", writer: asyncio.StreamWriter) -> None:
        """Pass on in order, each piece at its time, until the end: a long way, not a narrow one."""
        while True:
            due, piece = await way.get()
            if (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left)
            await self._flowing.wait()
            if piece == END:
                return
            writer.write(piece)
            await writer.drain()

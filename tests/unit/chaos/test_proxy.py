"""The proxy misbehaves as it says, and only then: a tool that does less than it claims would show too much."""

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator

import pytest

from services.devstack.ports import HOST, free_ports
from tests.chaos.proxy import OFFSET_COMMIT, Proxy

PRODUCE = 0


@contextlib.asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """A server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(4096):
            writer.write(piece)
        writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def proxied(*, is_kafka: bool = False) -> AsyncIterator[Proxy]:
    async with echoing() as upstream:
        made = Proxy(upstream, free_ports(1)[0], is_kafka=is_kafka)
        await made.start()
        try:
            yield made
        finally:
            await made.stop()
            await asyncio.sleep(0.01)


async def asked(proxy: Proxy, *pieces: bytes) -> bytes:
    """What comes back of these pieces over one connection."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        for piece in pieces:
            writer.write(piece)
        return await reader.readexactly(sum(map(len, pieces)))
    finally:
        writer.transport.abort()


def request(api_key: int) -> bytes:
    body = struct.pack(">hh", api_key, 9) + b"rest"
    return struct.pack(">i", len(body)) + body


async def test_it_passes_on_what_comes() -> None:
    async with proxied() as proxy:
        assert await asked(proxy, b"a" * 200_000) == b"a" * 200_000


async def test_it_is_slow_both_ways() -> None:
    async with proxied() as proxy:
        proxy.slow_s = 0.1
        begun = time.monotonic()
        await asked(proxy, b"x")
        assert time.monotonic() - begun >= 0.2


async def test_what_was_said_before_a_close_arrives() -> None:
    async def say_and_close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"FATAL")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(say_and_close, HOST, 0)
    proxy = Proxy(server.sockets[0].getsockname()[1], free_ports(1)[0])
    await proxy.start()
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    assert await reader.readexactly(5) == b"FATAL"
    writer.transport.abort()
    await proxy.stop()
    server.close()


async def test_it_stalls_without_closing() -> None:
    async with proxied() as proxy:
        with proxy.stalled():
            answer = asyncio.create_task(asked(proxy, b"x"))
            await asyncio.sleep(0.1)
            assert not answer.done()
        assert await answer == b"x"


async def test_it_cuts_what_is_open_and_refuses_what_is_new() -> None:
    async with proxied() as proxy:
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        proxy.refusing = True
        proxy.cut()
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read(1) == b""
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asked(proxy, b"x")
        proxy.refusing = False
        assert await asked(proxy, b"x") == b"x"
        writer.transport.abort()


async def test_it_refuses_offset_commits_and_nothing_else() -> None:
    async with proxied(is_kafka=True) as proxy:
        proxy.commits_refused = True
        assert await asked(proxy, request(PRODUCE)) == request(PRODUCE)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asked(proxy, request(PRODUCE), request(OFFSET_COMMIT))
        proxy.commits_refused = False
        assert await asked(proxy, request(OFFSET_COMMIT)) == request(OFFSET_COMMIT)

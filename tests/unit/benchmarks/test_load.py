"""The load generator: every request once, over kept connections, and no answer that is not 2xx passes for one."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks import load, same_rows
from benchmarks.load import Connections, Server
from benchmarks.same_rows import MissedRowsError


@asynccontextmanager
async def answering(status: str, heard: list[bytes]) -> AsyncIterator[Server]:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                heard.append(head.split(b"\r\n")[0] + b" " + await reader.readexactly(length))
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Server(server.sockets[0].getsockname()[1], os.getpid())
    assert connections <= 4


async def test_each_request_is_sent_once_over_few_connections() -> None:
    heard: list[bytes] = []
    made = [load.request("POST", f"/{number}", {"n": number}, {"If-Match": '"1"'}) for number in range(50)]
    async with answering("201 Created", heard) as server:
        run = await load.run(server, made, connections=4)
    assert sorted(heard) == sorted(f'POST /{n} HTTP/1.1 {{"n":{n}}}'.encode() for n in range(50))
    assert run.events == 50
    assert run.seconds > 0


async def test_an_answer_that_is_no_success_ends_the_run() -> None:
    async with answering("422 Unprocessable", []) as server:
        with pytest.raises(ExceptionGroup) as refused:
            await load.run(server, [load.request("POST", "/", {}, {})], connections=1)
    assert "422" in str(refused.value.exceptions[0])


async def test_an_open_loop_keeps_its_connections_and_tells_what_was_refused() -> None:
    heard: list[bytes] = []
    async with answering("503 Service Unavailable", heard) as server:
        connections = Connections(server.port)
        one = load.request("POST", "/", {}, {})
        assert await connections.send(one) == (503, b"{}")
        assert [status for status, _ in await asyncio.gather(*(connections.send(one) for _ in range(4)))] == [503] * 4
        connections.close()
    assert len(heard) == 5


async def test_a_connection_that_the_server_closed_is_made_again() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    async with server:
        connections = Connections(server.sockets[0].getsockname()[1])
        answers = [await connections.send(load.request("POST", "/", {}, {})) for _ in range(3)]
        connections.close()
    assert answers == [(200, b"[]")] * 3


def test_rows_that_the_bound_would_not_write_are_missed_aloud() -> None:
    found = {"a": {"member": [{}], "outbox": [{}, {}]}}
    same_rows.check({"member": 1, "outbox": 4, "held": 0}, {"member": 2, "outbox": 6, "held": 0}, found)
    with pytest.raises(MissedRowsError, match="held"):
        same_rows.check({"member": 1, "outbox": 4, "held": 0}, {"member": 2, "outbox": 6, "held": 3}, found)

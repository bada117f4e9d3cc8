"""Slow, large and malformed requests on a real socket (F32): each has an end, and nobody else waits for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import orjson
import pytest
import pytest_asyncio
from joserfc.jwk import KeySet
from pydantic import BaseModel, ConfigDict, StringConstraints

from services.runtime import connection, serving
from services.runtime.auth import Authenticator
from services.runtime.bounds import BODY_BYTES_MAX
from services.runtime.rates import Rates
from services.runtime.web import Api
from tests.integration.consent.harness import ISSUER_KEY
from tests.security.apis import serving as served

pytestmark = pytest.mark.f(32)
CONNECTIONS = 20
QUICK_S = 0.25
"""What the tests make of the ten and thirty seconds of a production server."""


class Echo(BaseModel):
    """A body with a text in it."""

    model_config = ConfigDict(extra="forbid")
    text: Annotated[str, StringConstraints(max_length=BODY_BYTES_MAX)] = ""


async def _ready() -> dict[str, bool]:
    return {}


def an_api() -> Api:
    """An application like ours, without what lies behind it."""
    keys = Authenticator("https://issuer.example", "dongui", keys=KeySet([ISSUER_KEY]))
    app = Api(title="echo", summary="echo", authenticator=keys, rates=Rates(50, 5000), ready=_ready)

    @app.post("/v1/echo")
    async def echo(body: Echo) -> dict[str, int]:
        return {"length": len(body.text)}

    @app.get("/v1/large")
    async def large() -> dict[str, str]:
        return {"text": "x" * 50_000_000}

    return app


@pytest_asyncio.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server with room for a few connections, which loses its patience soon."""
    for name in ("HEAD_TIMEOUT_S", "BODY_TIMEOUT_S", "WRITE_TIMEOUT_S"):
        monkeypatch.setattr(connection, name, QUICK_S)
    config = serving.config(an_api(), "127.0.0.1", 0, concurrency=CONNECTIONS, proxies=())
    async with served(config) as url:
        yield int(url.rpartition(":")[2])


@contextlib.asynccontextmanager
async def connected(port: int, first: bytes = b"") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def answer_to(port: int, request: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes, read to the end; return the status and the problem."""
    async with connected(port, request) as (reader, _):
        async with asyncio.timeout(10):
            whole = await reader.read()
    head, _, body = whole.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), orjson.loads(body) if b"json" in head else {}


async def still_answers(port: int) -> None:
    async with httpx.AsyncClient(timeout=2) as http:
        answer = await http.post(f"http://127.0.0.1:{port}/v1/echo", json={"text": "here"})
    assert (answer.status_code, answer.json()) == (200, {"length": 4})


HEAD = b"POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"", 408),
        (b"POST /v1/ec", 408),
        (HEAD, 408),
        (HEAD + b"Content-Length: 100\r\n\r\n{", 408),
    ],
    ids=["nothing", "half a line", "half a head", "half a body"],
)
async def test_a_client_that_goes_silent_is_told_so_and_let_go(port: int, first: bytes, status: int) -> None:
    found, problem = await answer_to(port, first)
    assert (found, problem["code"]) == (status, "too_slow")


async def test_a_head_that_drips_in_is_cut_off_in_the_time_of_a_whole_one(port: int) -> None:
    """Slowloris: each byte is in time, the request never is."""
    started = asyncio.get_running_loop().time()
    async with connected(port, HEAD) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof() and asyncio.get_running_loop().time() - started < 10 * QUICK_S:
                writer.write(b"X-Slow: 1\r\n")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), QUICK_S / 10)
    assert asyncio.get_running_loop().time() - started < 5 * QUICK_S


async def test_as_many_silent_connections_as_there_is_room_for_keep_nobody_out(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even while every one of them is still in its time: the oldest gives way."""
    monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 60)
    monkeypatch.setattr(connection, "BODY_TIMEOUT_S", 60)
    firsts = [b"", HEAD, HEAD + b"Content-Length: 100\r\n\r\n{"]
    async with contextlib.AsyncExitStack() as stack:
        for number in range(3 * CONNECTIONS):
            await stack.enter_async_context(connected(port, firsts[number % 3]))
        for _ in range(5):
            await still_answers(port)


async def test_a_client_that_reads_nothing_is_let_go(port: int) -> None:
    async with connected(port, b"GET /v1/large HTTP/1.1\r\nHost: x\r\n\r\n") as (reader, _):
        for _ in range(60):  # in pieces: what holds this loop up holds up the server on it too
            await asyncio.sleep(QUICK_S / 10)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(50_000_000)
    await still_answers(port)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET /v1/%s HTTP/1.1\r\n\r\n" % (b"a" * 9_000), 414, "target_too_long"),
        (b"GET /v1/echo?q=%s HTTP/1.1\r\n\r\n" % (b"a" * 9_000), 414, "target_too_long"),
        (b"GET / HTTP/1.1\r\nX: %s\r\n\r\n" % (b"a" * 40_000), 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431, "headers_too_large"),
        (HEAD + b"Content-Length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1), 413, "body_too_large"),
        (HEAD + b"Content-Length: 999999999999999999\r\n\r\n", 413, "body_too_large"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411, "length_required"),
    ],
    ids=["path", "query", "one header", "many headers", "body", "huge body", "chunks"],
)
async def test_what_is_too_large_is_refused_before_it_is_read(
    port: int, request_: bytes, status: int, code: str
) -> None:
    found, problem = await answer_to(port, request_)
    assert (found, problem["code"], problem["status"]) == (status, code, status)
    await still_answers(port)


async def test_a_header_without_an_end_is_cut_off_long_before_it_fills_the_memory(port: int) -> None:
    async def pour(writer: asyncio.StreamWriter) -> None:
        for _ in range(1000):
            writer.write(b"a" * 100_000)
            await writer.drain()
            await asyncio.sleep(0)

    async with connected(port, b"GET / HTTP/1.1\r\nX: ") as (_, writer):
        with pytest.raises(ConnectionError):
            await pour(writer)
    await still_answers(port)


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\x00B: y\r\n\r\n",
    ],
    ids=["TLS", "no path", "no ASCII", "no host", "two lengths", "negative", "smuggling", "folded", "NUL"],
)
async def test_what_is_no_http_is_a_bad_request_and_nothing_else(port: int, request_: bytes) -> None:
    found, _ = await answer_to(port, request_)
    assert 400 <= found < 500
    await still_answers(port)


async def test_requests_one_after_another_on_one_connection_each_have_their_own_time(port: int) -> None:
    body = b'{"text": "abc"}'
    request = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    async with connected(port) as (reader, writer):
        for _ in range(4):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            assert await reader.readexactly(length) == b'{"length":3}'
            await asyncio.sleep(QUICK_S / 2)
        writer.write(b"POST /v1/ec")
        async with asyncio.timeout(5):
            assert b"408" in await reader.read()

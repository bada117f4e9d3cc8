"""What a request may be before anything reads it: its body's length, depth and characters, and who may send how often.

Bounds of single fields are in the bodies' models. The wire's own (headers, target, slowness) are in `wire.py`.
"""

import re
from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime import probes, problems
from services.runtime.problem import Problem
from services.runtime.rates import Rates

BODY_BYTES_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 32
JSON_TYPE: Final = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;|$)", re.IGNORECASE)
STRINGS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""Every string literal, and an unfinished one to the end: linear in the body, whatever it is."""
BRACKETS: Final = re.compile(rb"[\[\]{}]")
NO_NUMBER: Final = re.compile(rb"NaN|Infinity")


class Bounded:
    """ASGI middleware: answers what is out of bounds, and hands on the rest with its JSON body read already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400, 411, 413, 422 or 429 before any handler sees the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            self._look(request)
            if JSON_TYPE.match(request.headers.get("content-type", "")):
                body = await _read(receive)
                check_json(body)
                receive = _again(body, receive)
        except Problem as problem:
            await problems.response(request, problem)(scope, receive, send)
            return
        except _GoneError:
            return
        await self._app(scope, receive, send)

    def _look(self, request: Request) -> None:
        rates: Rates = request.app.state.rates
        if "authorization" not in request.headers and request.url.path not in probes.PATHS:
            rates.of_address(address_of(request))
        check_length(request)
        if b"%00" in request.scope.get("raw_path", b"") or b"%00" in request.scope["query_string"]:
            raise problems.unstorable()


class _GoneError(Exception):
    """The client left before its body was complete: there is nobody to answer."""


def address_of(request: Request) -> str:
    """Return the network address the request came from."""
    return request.client.host if request.client else "unknown"


def check_length(request: Request) -> None:
    """Raise Problem 411 for a body without a length, 413 for one that is too long, before a byte of it is read."""
    close = {"Connection": "close"}
    if "transfer-encoding" in request.headers:
        ko, en = "본문에는 Content-Length가 필요합니다.", "Send the body with a Content-Length, not in chunks."
        raise Problem(411, "length_required", ko, en, headers=close)
    length = request.headers.get("content-length", "0")
    if not (length.isdecimal() and int(length) <= BODY_BYTES_MAX):
        ko, en = f"본문은 {BODY_BYTES_MAX}바이트 이하여야 합니다.", f"Send at most {BODY_BYTES_MAX} bytes."
        raise Problem(413, "body_too_large", ko, en, headers=close)


def check_json(body: bytes) -> None:
    """Raise Problem for JSON that is not UTF-8, is too deep, or has a number that is none."""
    if not _utf8(body):
        raise problems.bad_json()
    if NO_NUMBER.search(body) and NO_NUMBER.search(STRINGS.sub(b"", body)):
        raise problems.bad_json()
    if body.count(b"[") + body.count(b"{") > DEPTH_MAX and depth(body) > DEPTH_MAX:
        ko, en = f"JSON은 {DEPTH_MAX}단계까지 중첩할 수 있습니다.", f"JSON may be nested {DEPTH_MAX} levels deep."
        raise Problem(422, "body_too_deep", ko, en)


def _utf8(body: bytes) -> bool:
    """RFC 8259, 8.1. Python's parser would read UTF-16 too, in which nothing here would find what it looks for."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return b"\x00" not in body


def depth(body: bytes) -> int:
    """Return how deep arrays and objects of a JSON text are nested; of text that is no JSON, some number."""
    deepest = level = 0
    for bracket in BRACKETS.findall(STRINGS.sub(b"", body)):
        level += 1 if bracket in {b"[", b"{"} else -1
        deepest = max(deepest, level)
    return deepest


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    read: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return read.pop() if read else await receive()

    return replayed

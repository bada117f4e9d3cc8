"""The HTTP/1.1 connection of our servers: bounded in size and in time, so that a slow client holds nobody up.

uvicorn waits for ever for a request's head, its body, or a reader; and takes headers of any size. Here each has an end,
and when all connections are taken, the one that has been at its request for longest gives way to a new one.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX: Final = 32 * 1024
HEADERS_MAX: Final = 100
TARGET_BYTES_MAX: Final = 8 * 1024
HEAD_TIMEOUT_S: Final = 10.0
"""From the connection, or the first byte of a later request, to the end of its headers."""
BODY_TIMEOUT_S: Final = 30.0
"""From there to the last byte of the body."""
WRITE_TIMEOUT_S: Final = 30.0
"""Without the client taking anything of an answer that waits for it."""

REFUSED: Final = {
    408: ("too_slow", "요청이 제때 도착하지 않았습니다. 다시 보내 주세요."),
    414: ("target_too_long", f"경로와 쿼리는 합해서 {TARGET_BYTES_MAX}바이트 이하여야 합니다."),
    431: ("headers_too_large", f"헤더는 {HEADERS_MAX}개, 합해서 {HEAD_BYTES_MAX}바이트 이하여야 합니다."),
}
"""Code and detail; in Korean, for here the client's language is not known yet."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. What it refuses it answers with a problem (RFC 9457) and closes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.since = self.loop.time()
        """When the present request, or the connection, began."""
        self.in_head = True
        """From there to the end of the request's headers."""
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._reader_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first head; when the house is full, show out who takes longest."""
        super().connection_made(transport)
        self._set_deadline(HEAD_TIMEOUT_S)
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._set_deadline(None)
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Refuse a head that has grown too large, whether or not it will ever end."""
        if self.in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self.in_head and self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(431)

    def on_message_begin(self) -> None:
        """Start the clock of a later request on the same connection."""
        super().on_message_begin()
        if not self.in_head:
            self._head_bytes, self.in_head, self.since = 0, True, self.loop.time()
            self._set_deadline(HEAD_TIMEOUT_S)

    def on_headers_complete(self) -> None:
        """Hand the request on, or refuse it by its size; start the clock of its body."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if len(self.url) > TARGET_BYTES_MAX:
            self._refuse(414)
        elif len(self.headers) > HEADERS_MAX or size > HEAD_BYTES_MAX:
            self._refuse(431)
        else:
            self.in_head = False
            self._set_deadline(BODY_TIMEOUT_S)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand the body on, unless its request was refused."""
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the clock of the body."""
        self._set_deadline(None)
        if not self.transport.is_closing():
            super().on_message_complete()

    def pause_writing(self) -> None:
        """Start the clock of a reader who takes nothing."""
        super().pause_writing()
        self._reader_deadline = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop it."""
        if self._reader_deadline:
            self._reader_deadline.cancel()
            self._reader_deadline = None
        super().resume_writing()

    @property
    def may_give_way(self) -> bool:
        """Whether no complete request is being answered here."""
        cycle = self.cycle
        return cycle is None or cycle.response_complete or (cycle.more_body and not cycle.response_started)

    def _make_room(self) -> None:
        others = (one for one in self.connections if isinstance(one, BoundedProtocol) and one is not self)
        waiting = [one for one in others if one.may_give_way]
        if waiting:
            longest = min(waiting, key=lambda one: one.since)
            longest.transport.abort()
            self.connections.discard(longest)

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._refuse, 408) if seconds else None

    def _refuse(self, status: int) -> None:
        """Answer with a problem, unless an answer is under way, and close."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        before = cycle is None or cycle.response_complete
        if before if self.in_head else not cycle.response_started:
            self.transport.write(_answer(status))
        self.transport.close()


def _answer(status: int) -> bytes:
    code, detail = REFUSED[status]
    phrase = HTTPStatus(status).phrase
    told = {"type": f"https://dongui.kr/problems/{code}", "title": phrase, "status": status, "code": code}
    body = orjson.dumps({**told, "detail": detail})
    head = f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body

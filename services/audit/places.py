"""Places outside the database's reach that keep checkpoints: folders of write-once files, and witnesses over HTTP.

Each takes a checkpoint only when it continues what it has, so a log that was cut back, restored or rewritten finds a
place that says no. A folder keeps the hashes of the leaves as well: with them a verifier names the first bad entry
itself, not only the two checkpoints around it.
"""

import asyncio
import base64
import heapq
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from services.audit import cosignature, kept
from services.audit.checkpoint import CheckpointError, Verifier, text_part

TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 64 * 1024
SIZE_TYPE = "text/x.tlog.size"
PLAIN = {"Accept-Encoding": "identity"}
READ_ONLY = 0o444


class PlaceError(Exception):
    """The place could not be reached, or answered what it may not; the next round tries again."""


class PlaceRefusedError(Exception):
    """The place holds what the log contradicts: `behind` (it knows a larger log) or `differs`. An alarm."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Offer:
    """A checkpoint to be kept. `prove(old)` is the consistency path from that size, `leaves(old)` the hashes since."""

    size: int
    note: str
    prove: Callable[[int], Awaitable[list[bytes]]]
    leaves: Callable[[int], Awaitable[bytes]]


class Place(Protocol):
    """One of them. `name` is stable and names no host, path or person."""

    @property
    def name(self) -> str: ...

    async def put(self, offer: Offer) -> str | None:
        """Keep the checkpoint; return the signature lines to be kept with it ("" for none), None when it waits.

        Raises PlaceError, PlaceRefusedError.
        """
        ...


@dataclass(frozen=True)
class Answer:
    """What somebody else's server answered: status, media type, and at most ANSWER_BYTES_MAX as they came."""

    status: int
    kind: str
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8, whatever its sender calls it: Python would follow it into codecs that are no text."""
        return self.body.decode(errors="replace")


async def asked(
    client: httpx.AsyncClient, url: str, content: bytes, headers: Mapping[str, str] | None = None
) -> Answer:
    """POST and return the answer. Raises PlaceError for none, and for one that is late, endless or packed."""
    asking = client.stream("POST", url, content=content, headers={**PLAIN, **(headers or {})}, timeout=TIMEOUT_S)
    try:
        async with asyncio.timeout(TIMEOUT_S), asking as answer:
            return Answer(answer.status_code, answer.headers.get("content-type", ""), await _body(answer))
    except (httpx.HTTPError, TimeoutError) as error:
        raise PlaceError(type(error).__name__) from error


async def _body(answer: httpx.Response) -> bytes:
    if answer.headers.get("content-encoding", "identity") != "identity":  # a few bytes can unpack to gigabytes
        raise PlaceError("packed")
    found = b""
    async for chunk in answer.aiter_bytes():
        found += chunk
        if len(found) > ANSWER_BYTES_MAX:
            raise PlaceError("too_large")
    return found


class Folder:
    """`<size>.txt` is a note, `<size>.leaves` the 32-byte hashes of the leaves since the file before. Never replaced.

    Put it on a mount that the database's administrators cannot write, best one with object lock.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        self._size: int | None = None

    async def put(self, offer: Offer) -> str:
        """Write both files, the leaves first: a note that is there has its leaves."""
        try:
            last = await asyncio.to_thread(self._last, offer.size)
            hashes = await offer.leaves(last)
            await asyncio.to_thread(self._write, offer, hashes)
        except OSError as error:
            self._size = None
            raise PlaceError(type(error).__name__) from error
        self._size = offer.size
        return ""

    def _last(self, size: int) -> int:
        """Return the size up to which leaves are kept; raise PlaceRefusedError when that is more than the log has.

        The folder is listed once and after a failure only: in a year it holds millions of files.
        """
        if self._size is not None and self._size < size and (self._path / f"{self._size}.leaves").exists():
            return self._size
        self._path.mkdir(parents=True, exist_ok=True)
        newest = heapq.nlargest(2, kept.sizes(self._path, "leaves"))
        if newest and newest[0] > size:
            raise PlaceRefusedError("behind")
        return next((s for s in newest if s < size), 0)

    def _write(self, offer: Offer, hashes: bytes) -> None:
        if write_once(self._path / f"{offer.size}.leaves", hashes) != hashes:
            raise PlaceRefusedError("differs")
        note = write_once(self._path / f"{offer.size}.txt", offer.note.encode())
        if text_part(note.decode(errors="replace")) != text_part(offer.note):
            raise PlaceRefusedError("differs")


class Witness:
    """A C2SP witness: it cosigns what continues the checkpoint it cosigned last."""

    def __init__(self, url: str, key: Verifier, client: httpx.AsyncClient) -> None:
        self.name = key.name
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._key = key
        self._client = client
        self._size = 0

    async def put(self, offer: Offer) -> str:
        """Ask for a cosignature, a second time from the size the witness names."""
        answer = await self._ask(offer, min(self._size, offer.size))
        if answer.status == 409 and answer.kind.startswith(SIZE_TYPE):
            self._size = _size_of(answer)
            if self._size > offer.size:
                raise PlaceRefusedError("behind")
            answer = await self._ask(offer, self._size)
        if answer.status in {409, 422}:
            raise PlaceRefusedError("differs")
        if answer.status != 200:
            raise PlaceError(f"status {answer.status}")
        self._size = offer.size
        return self._lines(offer, answer)

    async def _ask(self, offer: Offer, old: int) -> Answer:
        path = await offer.prove(old)
        proof = "".join(base64.b64encode(value).decode() + "\n" for value in path)
        body = f"old {old}\n{proof}\n{offer.note}".encode()
        return await asked(self._client, self._url, body)

    def _lines(self, offer: Offer, answer: Answer) -> str:
        try:
            lines = cosignature.accepted_lines(offer.note, answer.text, self._key)
        except CheckpointError as error:
            raise PlaceError(error.code) from error
        if not lines:
            raise PlaceError("no_cosignature")
        return lines


def _size_of(answer: Answer) -> int:
    text = answer.text.removesuffix("\n")
    if not text.isascii() or not text.isdecimal() or len(text) > 19:
        raise PlaceError("bad_size")
    return int(text)


def write_once(path: Path, content: bytes) -> bytes:
    """Make a file that is whole or absent; return what is there, ours or what was there before."""
    if path.exists():
        return path.read_bytes()
    partial = path.with_name(f".{path.name}.new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, READ_ONLY)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return content

"""A witness is somebody else's server: whatever it answers is a cosignature, a refusal or an error with a code."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx
import pytest

from services.audit import checkpoint, cosignature, places
from services.audit.checkpoint import Checkpoint
from services.audit.places import Offer, PlaceError, PlaceRefusedError, Witness

NAME, SEED = "witness.example/w1", bytes(range(1, 33))
KEY = cosignature.cosigner_of(NAME, SEED)
NOTE = checkpoint.sign(Checkpoint("dongui.kr/audit", 7, bytes(32)), bytes(range(32)))
GOOD = cosignature.cosign(checkpoint.text_part(NOTE), NAME, SEED, 1679315147)
FOREIGN = cosignature.cosign(checkpoint.text_part(NOTE), "other.example/w", bytes(32), 1679315147)
SIZE = {"content-type": "text/x.tlog.size"}


async def put(answer: httpx.Response) -> str:
    async def none(_: int) -> list[bytes]:
        return []

    async def nothing(_: int) -> bytes:
        return b""

    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer)) as client:
        return await Witness("http://witness", KEY, client).put(Offer(7, NOTE, none, nothing))


async def drops(pause_s: float, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        await asyncio.sleep(pause_s)
        yield b"x" * 1024


async def test_its_line_is_found_among_others() -> None:
    assert await put(httpx.Response(200, text=FOREIGN + GOOD)) == GOOD


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(200, text=FOREIGN + "\n" + FOREIGN), "bad_note"),
        (httpx.Response(200, text=FOREIGN), "no_cosignature"),
        (httpx.Response(200, content=b"\xff\xfe"), "bad_note"),
        (httpx.Response(200, headers={"content-type": "text/plain; charset=zlib"}, content=b"x\n"), "bad_note"),
        (httpx.Response(200, headers={"content-encoding": "gzip"}, content=gzip.compress(GOOD.encode())), "packed"),
        (httpx.Response(409, headers=SIZE, content=b"9" * 20), "bad_size"),
        (httpx.Response(409, headers=SIZE, text="\u0663\n"), "bad_size"),
        (httpx.Response(500), "status 500"),
        (httpx.Response(301, headers={"location": "http://inside"}), "status 301"),
    ],
)
async def test_what_is_no_answer_is_an_error_with_a_code(answer: httpx.Response, code: str) -> None:
    with pytest.raises(PlaceError) as failed:
        await put(answer)
    assert str(failed.value) == code


async def test_an_endless_answer_is_not_read() -> None:
    with pytest.raises(PlaceError, match="too_large"):
        await put(httpx.Response(200, content=drops(0, 10**9)))


async def test_an_answer_that_comes_drop_by_drop_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "TIMEOUT_S", 0.2)
    with pytest.raises(PlaceError, match="TimeoutError"):
        await put(httpx.Response(200, content=drops(0.05, 60)))


async def test_a_refusal_is_one() -> None:
    with pytest.raises(PlaceRefusedError, match="differs"):
        await put(httpx.Response(422, text="inconsistent\n"))

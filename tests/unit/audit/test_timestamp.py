"""Timestamps against an answer that OpenSSL's `ts -reply` made (timestamp.json; made with a root of its own)."""

import base64
import hashlib
import json
from pathlib import Path

import httpx
import pytest

from services.audit import checkpoint
from services.audit.checkpoint import Checkpoint
from services.audit.places import Offer, PlaceError
from services.audit.timestamp import QUERY, Timestamp

FIXTURE = json.loads((Path(__file__).parent / "timestamp.json").read_text())
ANSWER = base64.b64decode(FIXTURE["answer"])
SEED = bytes(range(32))
STAMPED = Checkpoint("dongui.kr/audit", 7, bytes(range(32)))


class Authority:
    """The outside world: answers with the recorded bytes, and remembers what it was asked."""

    def __init__(self, status: int = 200, content: bytes = ANSWER) -> None:
        self.asked: list[httpx.Request] = []
        self._answer = (status, content)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(self._answer[0], content=self._answer[1])


async def stamped(authority: Authority, tmp_path: Path, head: Checkpoint = STAMPED, times: int = 1) -> list[str | None]:
    async def none(_: int) -> list[bytes]:
        return []

    async def nothing(_: int) -> bytes:
        return b""

    (tmp_path / "root.pem").write_text(FIXTURE["root"])
    offer = Offer(head.size, checkpoint.sign(head, SEED), none, nothing)
    async with httpx.AsyncClient(transport=httpx.MockTransport(authority)) as client:
        place = Timestamp.of_file("http://tsa", tmp_path / "root.pem", tmp_path, client, 3600)
        return [await place.put(offer) for _ in range(times)]


async def test_a_checkpoint_is_stamped_and_the_answer_kept_once_an_hour(tmp_path: Path) -> None:
    authority = Authority()
    assert await stamped(authority, tmp_path, times=3) == ["", None, None]
    assert (tmp_path / "7.tsr").read_bytes() == ANSWER
    assert [request.headers["content-type"] for request in authority.asked] == [QUERY]
    assert hashlib.sha256(checkpoint.text_of(STAMPED).encode()).digest() in authority.asked[0].content


@pytest.mark.parametrize(
    ("authority", "head"),
    [
        (Authority(), Checkpoint("dongui.kr/audit", 8, bytes(range(32)))),  # of another checkpoint
        (Authority(content=ANSWER[:-1] + bytes([ANSWER[-1] ^ 1])), STAMPED),
        (Authority(content=b"nonsense"), STAMPED),
        (Authority(status=503), STAMPED),
    ],
)
async def test_a_stamp_that_does_not_hold_is_no_place(authority: Authority, head: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(PlaceError):
        await stamped(authority, tmp_path, head)
    assert not list(tmp_path.glob("*.tsr"))

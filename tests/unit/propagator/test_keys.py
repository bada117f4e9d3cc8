"""Content keys over HTTP: what is asked, what is kept and for how long, what is worth another try."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from services.keyring import derive
from services.propagator.keys import ContentKeys, KeyServiceError

KID = "tmax-os.0b7d9a52-54a3-4c7e-9d2f-7a1f0c7b3e11.{}"


class Service:
    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.answer: Any = None
        self.status = 200
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer t0ken"
        kids = orjson.loads(await request.read())["kids"]
        self.requests.append(kids)
        answer = self.answer
        if answer is None:
            keys = [derive.jwk(derive.content_key(bytes(32), kid), kid) for kid in kids]
            answer = orjson.dumps({"keys": keys, "missing": []})
        return web.Response(status=self.status, body=answer)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    app = web.Application()
    app.router.add_post("/v1/keys", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield made
    await runner.cleanup()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def keys(service: Service) -> AsyncIterator[ContentKeys]:
    async with aiohttp.ClientSession() as session:
        yield ContentKeys(session, service.url, "t0ken", monotonic=Clock())


async def test_a_key_is_asked_for_once_and_again_before_five_minutes_are_over(
    service: Service, keys: ContentKeys
) -> None:
    kid = KID.format(1)
    expected = derive.content_key(bytes(32), kid)
    assert await keys.find([kid, kid]) == {kid: expected}
    assert await keys.find([kid]) == {kid: expected}
    assert service.requests == [[kid]]
    keys._cache._monotonic.now = 299.0  # type: ignore[attr-defined]
    await keys.find([kid])
    assert service.requests == [[kid], [kid]]


async def test_more_than_a_thousand_are_asked_for_in_parts(service: Service, keys: ContentKeys) -> None:
    kids = [KID.format(i) for i in range(1, 1502)]
    assert len(await keys.find(kids)) == 1501
    assert [len(r) for r in service.requests] == [1000, 501]


async def test_what_is_missing_for_ever_says_why_and_is_asked_for_each_time(
    service: Service, keys: ContentKeys
) -> None:
    one, two = KID.format(1), KID.format(2)
    missing = [{"kid": one, "code": "key_destroyed"}, {"kid": two, "code": "key_unknown"}]
    service.answer = orjson.dumps({"keys": [], "missing": missing})
    for _ in range(2):
        assert await keys.find([one, two]) == {one: "key_destroyed", two: "key_unknown"}
    assert len(service.requests) == 2


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 429, 500, 503])
async def test_every_other_status_is_worth_another_try(service: Service, keys: ContentKeys, status: int) -> None:
    service.status = status
    with pytest.raises(KeyServiceError, match=f"status_{status}"):
        await keys.find([KID.format(1)])


NONSENSE = {
    "answer_malformed": [
        b"<html>",
        b"[]",
        b'{"keys":[{"kid":"x","k":"AA"}],"missing":[]}',
        b'{"keys":[{"kid":"x","k":"\xc3\xa9"}],"missing":[]}',
        b'{"keys":[],"missing":[{"kid":"x","code":"gone"}]}',
    ],
    "answer_incomplete": [b'{"keys":[],"missing":[]}'],
}


@pytest.mark.parametrize(("code", "answer"), [(c, a) for c, answers in NONSENSE.items() for a in answers])
async def test_nonsense_is_worth_another_try(service: Service, keys: ContentKeys, code: str, answer: bytes) -> None:
    service.answer = answer
    with pytest.raises(KeyServiceError, match=code):
        await keys.find([KID.format(1)])


async def test_a_service_that_is_not_there_is_worth_another_try() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(KeyServiceError, match="unreachable"):
            await ContentKeys(session, "http://127.0.0.1:9", "t").find([KID.format(1)])

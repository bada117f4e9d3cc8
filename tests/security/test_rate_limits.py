"""Rate limits over HTTP (F32): who asks too often waits, nobody else does, and the probes never do."""

from dataclasses import replace
from typing import Annotated

import httpx
import pytest
from fastapi import Depends
from joserfc.jwk import KeySet

from services.audit import app as audit
from services.consent import app as consent
from services.retention import app as retention
from services.runtime.auth import Authenticator, Principal
from services.runtime.bearer import principal_of
from services.runtime.rates import Rates
from services.runtime.web import Api
from tests.integration.consent.harness import ISSUER_KEY, a_token, bearer
from tests.security.apis import Apis
from tests.security.test_slow_and_large import _ready

pytestmark = pytest.mark.f(32)
STANDING = 1000.0


@pytest.fixture
def http() -> httpx.AsyncClient:
    """An API where people may ask five times in ten seconds, services fifty, and no time passes."""
    keys = Authenticator("https://issuer.dongui.localhost", "dongui", keys=KeySet([ISSUER_KEY]))
    app = Api(title="x", summary="x", authenticator=keys, rates=Rates(0.5, 5, lambda: STANDING), ready=_ready)

    @app.get("/v1/mine")
    async def mine(who: Annotated[Principal, Depends(principal_of)]) -> str:
        return who.sub

    @app.get("/v1/public")
    async def public() -> str:
        return "for anybody"

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.example")


async def statuses(http: httpx.AsyncClient, headers: dict[str, str], times: int, path: str = "/v1/mine") -> list[int]:
    return [(await http.get(path, headers=headers)).status_code for _ in range(times)]


async def test_a_principal_has_its_own_measure_whatever_others_do(http: httpx.AsyncClient) -> None:
    one, other = bearer(a_token("m-1", "member")), bearer(a_token("m-2", "member"))
    assert await statuses(http, one, 7) == [200] * 5 + [429] * 2
    assert await statuses(http, other, 5) == [200] * 5
    assert await statuses(http, bearer(a_token("shop", "service")), 51) == [200] * 50 + [429]


async def test_another_token_of_the_same_principal_is_the_same_principal(http: httpx.AsyncClient) -> None:
    tokens = [bearer(a_token("m-1", "member", jti=str(number))) for number in range(7)]
    assert [(await statuses(http, one, 1))[0] for one in tokens] == [200] * 5 + [429] * 2


async def test_who_guesses_tokens_is_stopped_and_good_tokens_from_there_are_not(http: httpx.AsyncClient) -> None:
    assert await statuses(http, bearer("a.b.c"), 7) == [401] * 5 + [429] * 2
    assert await statuses(http, {}, 2, "/v1/public") == [429] * 2
    assert await statuses(http, bearer(a_token("shop", "service")), 5) == [200] * 5


async def test_the_refusal_says_when_to_come_back(http: httpx.AsyncClient) -> None:
    await statuses(http, {}, 5, "/v1/public")
    refused = await http.get("/v1/public")
    assert (refused.status_code, refused.headers["retry-after"], refused.json()["code"]) == (
        429,
        "2",
        "too_many_requests",
    )
    assert refused.headers["content-type"] == "application/problem+json"


async def test_probes_are_never_refused(http: httpx.AsyncClient) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert await statuses(http, {}, 20, path) == [200] * 20


@pytest.mark.parametrize("name", ["consent", "audit", "retention"])
async def test_an_api_goes_by_its_setting(apis: Apis, name: str) -> None:
    """At one request in a hundred seconds, ten seconds' worth is none."""
    slow = {"rate_per_s": 0.01}
    pair, log = apis.pair, apis.audit
    config = {
        "consent": lambda: consent.server_config(pair.service.settings.model_copy(update=slow), pair.service.consent),
        "audit": lambda: audit.server_config(replace(log, settings=log.settings.model_copy(update=slow))),
        "retention": lambda: retention.server_config(
            replace(pair.parts, settings=pair.parts.settings.model_copy(update=slow))
        ),
    }[name]()
    transport = httpx.ASGITransport(app=config.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as http:
        assert (await http.get("/openapi.json")).status_code == 429
    assert (await apis.http.get(f"{apis.urls[name]}/openapi.json")).status_code == 200

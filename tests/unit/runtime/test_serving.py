"""Whose address a request has: the last hop that is no proxy of ours, whatever the client says of itself."""

from collections.abc import Sequence

import httpx
import pytest
from fastapi import Request
from joserfc.jwk import KeySet, OKPKey

from services.runtime import serving
from services.runtime.auth import Authenticator
from services.runtime.bounds import address_of
from services.runtime.rates import Rates
from services.runtime.web import Api

CLIENT, FORGED, GATEWAY = "203.0.113.7", "9.9.9.9", "10.1.0.9"
BESIDE = "127.0.0.1"
"""The proxy that ends TLS beside the API."""


async def _ready() -> dict[str, bool]:
    return {}


def an_api(peer: str, proxies: Sequence[str]) -> httpx.AsyncClient:
    """An API as it is served, which tells the address it goes by; who shows no token may ask it five times."""
    keys = Authenticator("i", "a", keys=KeySet([OKPKey.generate_key("Ed25519")]))
    app = Api(title="x", summary="x", authenticator=keys, rates=Rates(0.5, 5, lambda: 0.0), ready=_ready)

    @app.get("/v1/address")
    async def address(request: Request) -> str:
        return address_of(request)

    config = serving.config(app, "127.0.0.1", 0, concurrency=4, proxies=proxies)
    config.load()
    transport = httpx.ASGITransport(config.loaded_app, client=(peer, 40000))
    return httpx.AsyncClient(transport=transport, base_url="http://api.example")


@pytest.mark.parametrize(
    ("peer", "hops", "proxies", "taken"),
    [
        (BESIDE, [FORGED, CLIENT], [BESIDE], CLIENT),
        (BESIDE, [FORGED, CLIENT, GATEWAY], [BESIDE, "10.1.0.0/28"], CLIENT),
        (BESIDE, [FORGED, CLIENT, GATEWAY], [BESIDE], GATEWAY),
        (CLIENT, [FORGED], [BESIDE, "10.1.0.0/28"], CLIENT),
        (BESIDE, [FORGED], [], BESIDE),
    ],
)
async def test_the_address_is_the_last_hop_that_is_no_proxy(
    peer: str, hops: list[str], proxies: list[str], taken: str
) -> None:
    async with an_api(peer, proxies) as http:
        answer = await http.get("/v1/address", headers={"X-Forwarded-For": ", ".join(hops)})
    assert answer.json() == taken


async def test_an_address_of_ones_own_choice_is_no_fresh_rate() -> None:
    async with an_api(BESIDE, [BESIDE]) as http:
        found = [
            await http.get("/v1/address", headers={"X-Forwarded-For": f"9.9.9.{number}, {CLIENT}"})
            for number in range(6)
        ]
    assert [answer.status_code for answer in found] == [200] * 5 + [429]

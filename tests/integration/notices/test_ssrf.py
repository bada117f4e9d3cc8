"""The SSRF corpus: URLs and resolver answers that would lead inside. None gets a connection, nor the canary a visit.

What is connected to is not asked of our own code: CPython's audit events tell of every `socket.connect`. Each URL is
tried twice: as whoever registers it, and as if it had been registered all the same.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from services.propagator.notices import post, urls
from services.propagator.notices.endpoints import Endpoint
from tests.integration.notices.receivers import serving

pytestmark = pytest.mark.f(23)

# {port} is the canary's. Plain http, too: a scheme that is refused must not be what alone protects us.
URLS = """
http://127.0.0.1:{port}/
https://127.0.0.1:{port}/
https://127.0.0.1/
https://127.1:{port}/
https://127.0.1:{port}/
https://2130706433:{port}/
https://017700000001:{port}/
https://0177.0.0.1:{port}/
https://0x7f000001:{port}/
https://0x7f.0.0.1:{port}/
https://0x7f.1:{port}/
https://127.0.0.1.:{port}/
https://127.000.000.001:{port}/
https://127.0.0.0x1:{port}/
https://0:{port}/
https://0.0.0.0:{port}/
https://127.127.127.127:{port}/
https://localhost:{port}/
https://LOCALHOST:{port}/
https://localhost.:{port}/
https://localhost.localdomain:{port}/
https://x.localhost:{port}/
https://[::1]:{port}/
https://[::]:{port}/
https://[0:0:0:0:0:0:0:1]:{port}/
https://[0000::1]:{port}/
https://[::ffff:127.0.0.1]:{port}/
https://[::ffff:7f00:1]:{port}/
https://[::127.0.0.1]:{port}/
https://[64:ff9b::7f00:1]:{port}/
https://[64:ff9b:1::7f00:1]:{port}/
https://[2002:7f00:1::]:{port}/
https://[2001:0:7f00:1::1]:{port}/
https://[fe80::1%25lo]:{port}/
https://[fe80::1]:{port}/
https://[fec0::1]:{port}/
https://[fc00::1]:{port}/
https://[fd00:ec2::254]/latest/meta-data/
https://[ff02::1]:{port}/
https://[2001:db8::1]:{port}/
https://[::1:{port}/
https://169.254.169.254/latest/meta-data/
https://169.254.170.2/v2/credentials
https://2852039166/latest/meta-data/
https://0xa9fea9fe/latest/meta-data/
https://0251.0376.0251.0376/
https://[::ffff:169.254.169.254]/
https://metadata/computeMetadata/v1/
https://metadata.google.internal/computeMetadata/v1/
https://168.63.129.16/machine
https://100.100.100.200/latest/meta-data/
https://192.0.0.192/opc/v1/instance/
https://10.0.0.1/
https://172.16.0.1/
https://172.31.255.254/
https://192.168.0.1/
https://100.64.0.1/
https://198.18.0.1/
https://192.0.2.1/
https://224.0.0.1/
https://240.0.0.1/
https://255.255.255.255/
https://printer.local:{port}/
https://db.internal:{port}/
https://router.home.arpa:{port}/
https://intranet:{port}/
https://user:pass@127.0.0.1:{port}/
https://partner.example@127.0.0.1:{port}/
https://partner.example:443@127.0.0.1:{port}/
https://127.0.0.1:{port}@partner.example/
https://partner.example%40127.0.0.1:{port}/
https://127.0.0.1:{port}\\@partner.example/
https://partner.example\\@127.0.0.1:{port}/
https://partner.example#@127.0.0.1:{port}/
https://127.0.0.1:{port}#@partner.example/
https://127%2e0%2e0%2e1:{port}/
https://%31%32%37.0.0.1:{port}/
https://127.0.0.1%00.partner.example:{port}/
https://127。0。0。1:{port}/
https://127．0．0．1:{port}/
https://127｡0｡0｡1:{port}/
https://①②⑦.⓪.⓪.①:{port}/
https://１２７.0.0.1:{port}/
https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/
https://localho\u017ft:{port}/
https://partner.example\u2024evil.example:{port}/
https://partner.example\u200b:{port}/
https://partner..example:{port}/
https://.partner.example:{port}/
https://partner.example.:{port}/
https://-partner.example:{port}/
https://partner_example:{port}/
https://partner.example:22/
https://partner.example:25/
https://partner.example:6379/
https://partner.example:0/
https://partner.example:65536/
https://partner.example:{port}:{port}/
https://partner.example:+443/
https://partner.example: 443/
https:// partner.example/
https://partner.example\t/
https:///127.0.0.1:{port}/
https:127.0.0.1:{port}/
https:/127.0.0.1:{port}/
//127.0.0.1:{port}/
HTTP://127.0.0.1:{port}/
ftp://127.0.0.1:{port}/
file:///etc/passwd
gopher://127.0.0.1:{port}/_x
dict://127.0.0.1:{port}/x
unix:///var/run/docker.sock
http+unix://%2Fvar%2Frun%2Fdocker.sock/
javascript:alert(1)
data:text/plain,x
jar:https://127.0.0.1:{port}/!/
https://
https://?x=127.0.0.1:{port}
""".strip().split("\n")
URLS.append("https://partner.example/\r\nX-Injected: 1")

# What a name server may say about `partner.example`, port 443.
ANSWERS = {
    "loopback": ["127.0.0.1"],
    "another loopback": ["127.8.8.8"],
    "this network": ["0.0.0.0"],
    "loopback, IPv6": ["::1"],
    "unspecified, IPv6": ["::"],
    "CNAME to an inside name": ["10.1.2.3"],
    "CNAME to the metadata server": ["169.254.169.254"],
    "private 172": ["172.20.0.5"],
    "private 192": ["192.168.1.1"],
    "carrier-grade NAT": ["100.127.255.254"],
    "benchmarking": ["198.19.255.255"],
    "documentation": ["203.0.113.7"],
    "IETF protocols": ["192.0.0.8"],
    "6to4 relay": ["192.88.99.1"],
    "multicast": ["239.255.255.250"],
    "reserved": ["250.1.1.1"],
    "broadcast": ["255.255.255.255"],
    "Azure's metadata server": ["168.63.129.16"],
    "mapped loopback": ["::ffff:127.0.0.1"],
    "mapped public": ["::ffff:8.8.8.8"],
    "compatible": ["::7f00:1"],
    "translated": ["::ffff:0:7f00:1"],
    "NAT64": ["64:ff9b::a9fe:a9fe"],
    "local NAT64": ["64:ff9b:1::a00:1"],
    "6to4": ["2002:a9fe:a9fe::1"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "ORCHID": ["2001:20::1"],
    "discard only": ["100::1"],
    "documentation, IPv6": ["2001:db8::1"],
    "documentation, IPv6 again": ["3fff::1"],
    "segment routing": ["5f00::1"],
    "unique local": ["fd12:3456:789a::1"],
    "link-local": ["fe80::1"],
    "link-local with a zone": ["fe80::1%lo"],
    "public with a zone": ["2606:4700::1111%lo"],
    "site-local": ["fec0::1"],
    "multicast, IPv6": ["ff05::2"],
    "public first, loopback second": ["8.8.8.8", "127.0.0.1"],
    "loopback first, public second": ["127.0.0.1", "8.8.8.8"],
    "public IPv4, mapped IPv6": ["8.8.8.8", "::ffff:10.0.0.1"],
    "no address": ["partner.example"],
}

REDIRECTS = [
    (301, "http://127.0.0.1:{port}/"),
    (302, "http://127.0.0.1:{port}/"),
    (303, "http://localhost:{port}/"),
    (307, "http://127.0.0.1:{port}/"),
    (308, "http://127.0.0.1:{port}/"),
    (302, "//127.0.0.1:{port}/"),
    (302, "http://169.254.169.254/latest/meta-data/"),
    (307, "http://[::ffff:169.254.169.254]/"),
    (302, "https://user@127.0.0.1:{port}/"),
    (302, "file:///etc/passwd"),
    (300, "http://127.0.0.1:{port}/"),
    (305, "http://127.0.0.1:{port}/"),
]


class Watched:
    """The addresses that this process connects to while it is watched."""

    def __init__(self) -> None:
        self.on = False
        self.connects: list[str] = []

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event == "socket.connect" and isinstance(arguments[1], tuple):
            self.connects.append(arguments[1][0])


WATCHED = Watched()


@pytest.fixture(scope="session")
def _hooked() -> None:
    """An audit hook cannot be taken out again; it does nothing unless it is on."""
    sys.addaudithook(WATCHED.hook)


@pytest.fixture
def connects(_hooked: None) -> Iterator[list[str]]:
    WATCHED.connects = []
    WATCHED.on = True
    yield WATCHED.connects
    WATCHED.on = False


@dataclass
class Canary:
    """A listener that nobody may reach, on both loopbacks."""

    port: int = 0
    visits: int = 0
    servers: list[asyncio.Server] = field(default_factory=list)

    def visited(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.close()


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    made = Canary()
    made.servers.append(await asyncio.start_server(made.visited, "127.0.0.1", 0))
    made.port = made.servers[0].sockets[0].getsockname()[1]
    if socket.has_ipv6:
        with contextlib.suppress(OSError):  # a machine without IPv6 has no such way in
            made.servers.append(await asyncio.start_server(made.visited, "::1", made.port))
    yield made
    for server in made.servers:
        server.close()


@dataclass
class Names(AbstractResolver):
    """A name server that says the same of every name, or the next of several answers at each question."""

    answers: list[list[str]]
    asked: int = 0

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:  # noqa: ARG002
        """Return the next answer, whatever the family asked for."""
        said = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in said
        ]

    async def close(self) -> None:
        """Nothing to let go of."""


@pytest.mark.f(23)
def test_the_corpus_has_the_size_that_the_documents_say() -> None:
    assert (len(URLS), len(ANSWERS), len(REDIRECTS)) == (119, 41, 12)
    assert len(set(URLS)) == len(URLS)


@pytest.mark.f(23)
async def test_no_url_of_the_corpus_can_be_registered_or_reached(canary: Canary, connects: list[str]) -> None:
    """Every name resolves to the canary here: the worst name server there is."""
    accepted = [url for url in URLS if urls.refusal(url.format(port=canary.port), production=True) is None]
    assert accepted == []
    names = Names([["127.0.0.1"]])
    async with post.session(production=True, timeout_s=5, resolver=names) as client:
        for url in URLS:
            reply = await post.post(client, Endpoint("x", url.format(port=canary.port), b""), {}, b"{}")
            assert (reply.status, connects, canary.visits) == (None, [], 0), url


@pytest.mark.f(23)
@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS)
async def test_no_answer_of_a_name_server_leads_inside(said: list[str], canary: Canary, connects: list[str]) -> None:
    names = Names([said])
    async with post.session(production=True, timeout_s=5, resolver=names) as client:
        for scheme in ("https", "http"):
            url = f"{scheme}://partner.example:{canary.port}/webhook"
            reply = await post.post(client, Endpoint("x", url, b""), {}, b"{}")
            assert (reply.status, reply.error) == (None, "EgressRefusedError")
    assert (names.asked, connects, canary.visits) == (2, [], 0)


@pytest.mark.f(23)
async def test_a_name_is_resolved_once_and_the_connection_goes_to_what_was_looked_at(
    canary: Canary, connects: list[str]
) -> None:
    """DNS rebinding: an outside address for whoever checks, the inside one for whoever connects.

    3000::1 is in space that was given to nobody: no connection comes of it, and it does not matter which way it fails.
    """
    names = Names([["3000::1"], ["127.0.0.1"]])
    endpoint = Endpoint("x", f"https://partner.example:{canary.port}/webhook", b"")
    async with post.session(production=True, timeout_s=1, resolver=names) as client:
        first = await post.post(client, endpoint, {}, b"{}")
        assert (first.status, names.asked, set(connects)) == (None, 1, {"3000::1"})
        second = await post.post(client, endpoint, {}, b"{}")
    assert (second.error, names.asked) == ("EgressRefusedError", 2)
    assert (set(connects), canary.visits) == ({"3000::1"}, 0)


@pytest.mark.f(23)
@pytest.mark.parametrize(("status", "location"), REDIRECTS)
async def test_a_redirect_leads_nowhere(status: int, location: str, canary: Canary, connects: list[str]) -> None:
    """From a receiver on this machine (the dev profile, in which loopback is allowed at all)."""
    headers = {"Location": location.format(port=canary.port), "Refresh": f"0; url=http://127.0.0.1:{canary.port}/"}
    async with serving(lambda _: (status, None), headers=headers) as (url, asked):
        async with post.session(production=False, timeout_s=5) as client:
            reply = await post.post(client, Endpoint("x", url, b""), {}, b"{}")
        assert (reply.status, len(asked), connects) == (status, 1, ["127.0.0.1"])
    assert canary.visits == 0


@pytest.mark.f(23)
async def test_the_canary_sings_when_it_is_reached(canary: Canary, connects: list[str]) -> None:
    """The control: without our rules the same request does arrive, and the watch sees it."""
    async with post.session(production=False, timeout_s=5) as client:
        await post.post(client, Endpoint("x", f"http://127.0.0.1:{canary.port}/", b""), {}, b"{}")
    assert (connects, canary.visits) == (["127.0.0.1"], 1)


async def test_no_proxy_of_the_environment_is_used(
    canary: Canary, connects: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    names = Names([["10.0.0.1"]])
    async with post.session(production=True, timeout_s=5, resolver=names) as client:
        reply = await post.post(client, Endpoint("x", "https://partner.example/webhook", b""), {}, b"{}")
    assert (reply.error, connects, canary.visits) == ("EgressRefusedError", [], 0)

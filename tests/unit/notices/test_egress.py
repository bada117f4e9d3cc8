"""Where a notice may never go."""

import socket
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from services.propagator.notices import egress, endpoints
from services.propagator.notices.egress import EgressRefusedError, is_public
from services.propagator.notices.endpoints import EndpointError

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.3.4",
        "192.168.0.1",
        "100.64.10.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fd00::1",
        "fe80::1%eth0",
        "ff02::1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::a00:1",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "64:ff9b:1::808:808",
        "2002:808:808::1",
        "2001:0:808:808::1",
        "fec0::1",
        "168.63.129.16",
        "192.88.99.1",
        "not-an-address",
    ],
)
def test_what_is_not_the_public_internet_is_refused(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(EgressRefusedError):
        egress.socket_factory(production=True)((socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)))


@pytest.mark.parametrize("address", ["8.8.8.8", "211.39.128.1", "2606:4700:4700::1111"])
def test_public_addresses_pass(address: str) -> None:
    assert is_public(address)


def test_the_dev_profile_reaches_loopback() -> None:
    with egress.socket_factory(production=False)(
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))
    ) as made:
        assert made.family == socket.AF_INET


@pytest.mark.parametrize(
    ("url", "production", "allowed"),
    [
        ("https://partner.example/webhook", True, True),
        ("https://partner.example:8443/w?x=1", True, True),
        ("HTTPS://Partner.Example/Webhook", True, True),
        ("https://xn--9n2bp8q.example/w/a@b", True, True),
        ("https://8.8.8.8/", True, True),
        ("https://[2606:4700:4700::1111]:8443/", True, True),
        ("https://partner.example:9443/", True, False),
        ("https://partner.example:9443/", False, True),
        ("https://partner.example/" + "w" * 2048, True, False),
        ("http://partner.example/webhook", True, False),
        ("http://127.0.0.1:9000/webhook", True, False),
        ("http://127.0.0.1:9000/webhook", False, True),
        ("http://[::1]:9000/webhook", False, True),
        ("http://localhost:9000/webhook", False, True),
        ("http://10.0.0.1/webhook", False, False),
        ("http://localhost.partner.example/", False, False),
        ("https://user:secret@partner.example/", False, False),
        ("https://partner.example/#top", False, False),
        ("ftp://partner.example/", False, False),
        ("https:///webhook", False, False),
        ("https://partner.example:99999/", False, False),
        ("https://[::1/", False, False),
    ],
)
def test_the_url_of_an_endpoint(url: str, production: bool, allowed: bool) -> None:
    assert (endpoints.refusal(url, production=production) is None) is allowed


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*"/:@.#?[]%\\-_ab1", "https://", "partner.example", "127.0.0.1", "0x7f", "::1", "443", "xn--", "。"]
        ),
        max_size=8,
    ).map(lambda parts: "https://" + "".join(parts))
)
def test_what_is_accepted_is_read_alike_by_every_parser(url: str) -> None:
    """The standard library, the HTTP client's parser, and httpx's: one host, one port, no user."""
    if endpoints.refusal(url, production=True) is not None:
        return
    split, client, other = urlsplit(url), URL(url), httpx.URL(url)
    assert split.hostname == client.raw_host == other.raw_host.decode().strip("[]")
    assert (split.port or 443) == client.port == (other.port or 443)
    assert (split.username, client.user, other.userinfo) == (None, None, b"")
    assert is_public(str(client.host)) or "." in str(client.host)


def test_a_bad_endpoint_is_named_at_start_without_its_secret() -> None:
    with pytest.raises(EndpointError) as caught:
        endpoints.parse({"demo-partner": {"url": "https://partner.example/", "secret": "hunter2"}}, production=True)
    assert "demo-partner" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_third_party_without_a_url_has_no_endpoint_yet() -> None:
    found = endpoints.parse(
        {"a-partner": {"url": None}, "b-partner": {"url": "https://b.example/", "secret": SECRET}}, production=True
    )
    assert list(found) == ["b-partner"]
    assert "0123456789" not in repr(found["b-partner"])

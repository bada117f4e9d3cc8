"""Which addresses a notice may go to: decided on the RESOLVED address, so that no name can point inside.

A name is resolved once per connection, every address of the answer is looked at, and the connection goes to one of
them: nothing is resolved a second time, so a name server that changes its mind (DNS rebinding) changes nothing. The
socket factory looks once more at what is connected to, IP literals included, which no resolver sees.
"""

import ipaddress
import socket
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

AddressInfo = tuple[Any, Any, Any, Any, Any]
SocketFactory = Callable[[AddressInfo], socket.socket]

NOT_PUBLIC_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's metadata server: a public number, answered inside
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
PUBLIC_V6: Final = IPv6Network("2000::/3")
"""All that IANA has given out as global unicast. Outside lie loopback, mapped and compatible IPv4 addresses, NAT64
(64:ff9b::/96, 64:ff9b:1::/48), unique local, link-local, site-local, multicast, segment routing."""
NOT_PUBLIC_V6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # IETF protocols: Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4: carries an IPv4 address
        "3fff::/20",
    )
)


class EgressRefusedError(OSError):
    """The name resolves to an address that is not on the public internet."""


def is_public(address: str) -> bool:
    """Whether an IP address is global unicast by IANA's special-purpose registries, and carries no other inside."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return not any(found in network for network in NOT_PUBLIC_V4)
    return found.scope_id is None and found in PUBLIC_V6 and not any(found in network for network in NOT_PUBLIC_V6)


def may_reach(address: str, *, production: bool) -> bool:
    """Whether a connection may go to an address: a public one; in the dev profile this machine as well."""
    return is_public(address) or (not production and _is_loopback(address))


def is_loopback_name(host: str) -> bool:
    """Whether a host is this machine by its spelling alone: `localhost` or a loopback literal."""
    return host == "localhost" or _is_loopback(host)


def is_loopback_url(url: str) -> bool:
    """Whether a URL's host is this machine by its spelling alone."""
    return is_loopback_name(urlsplit(url).hostname or "")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def socket_factory(*, production: bool) -> SocketFactory:
    """Return the factory of sockets; it raises EgressRefusedError for an address that may not be reached."""

    def make(info: AddressInfo) -> socket.socket:
        if not may_reach(info[4][0], production=production):
            raise EgressRefusedError("address refused")
        return socket.socket(info[0], info[1], info[2])

    return make


class VettingResolver(AbstractResolver):
    """Refuses a name of whose addresses any may not be reached: a mixed answer is an attempt, not a mistake."""

    def __init__(self, inner: AbstractResolver, *, production: bool) -> None:
        self._inner = inner
        self._production = production

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host; raise EgressRefusedError, or OSError when there are none."""
        found = await self._inner.resolve(host, port, family)
        if not all(may_reach(one["host"], production=self._production) for one in found):
            raise EgressRefusedError("address refused")
        return found

    async def close(self) -> None:
        """Let go of the inner resolver."""
        await self._inner.close()


def connector(
    *, production: bool, limit_per_host: int, resolver: AbstractResolver | None = None
) -> aiohttp.TCPConnector:
    """Return the connector of everything that leaves for a third party; call it inside the running loop.

    `resolver` stands in for the system's (tests). TLS certificates are checked, names are not cached.
    """
    return aiohttp.TCPConnector(
        resolver=VettingResolver(resolver or aiohttp.ThreadedResolver(), production=production),
        socket_factory=socket_factory(production=production),
        use_dns_cache=False,
        limit=0,  # over all: else the dead would take the places of the living
        limit_per_host=limit_per_host,
    )

"""Which addresses a notice may go to: decided on the RESOLVED address, so that no name can point inside.

aiohttp hands every address to the socket factory before it connects, IP literals included (its resolver hook
misses those).
"""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

AddressInfo = tuple[Any, Any, Any, Any, Any]
SocketFactory = Callable[[AddressInfo], socket.socket]


class EgressRefusedError(OSError):
    """The name resolves to an address that is not on the public internet."""


def socket_factory(*, production: bool) -> SocketFactory:
    """Return the factory of sockets; in production it raises EgressRefusedError for what is not global."""

    def make(info: AddressInfo) -> socket.socket:
        if production and not is_public(info[4][0]):
            raise EgressRefusedError("address refused")
        return socket.socket(info[0], info[1], info[2])

    return make


def is_public(address: str) -> bool:
    """Whether an IP address is global unicast; what is embedded in an IPv6 address counts as well."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(ip.is_global and not ip.is_multicast for ip in (found, *_embedded(found)))


def _embedded(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses a gateway would deliver to: mapped, 6to4, Teredo, NAT64."""
    if isinstance(found, ipaddress.IPv4Address):
        return []
    nat64 = ipaddress.IPv4Address(found.packed[12:]) if found in _NAT64 else None
    return [ip for ip in (found.ipv4_mapped, found.sixtofour, *(found.teredo or ()), nat64) if ip is not None]


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_loopback_name(host: str) -> bool:
    """Whether a host is this machine by its spelling alone: `localhost` or a loopback literal."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""Pure: which URLs may be an endpoint. A narrow grammar: what no two parsers read differently, and nothing else."""

import ipaddress
import re
from typing import Final

from yarl import URL

from services.propagator.notices import egress

LENGTH_MAX: Final = 2048
PORTS: Final = frozenset({443, 8443})
"""In production. Another port is likelier an inside service than a webhook."""
LOCAL_SUFFIXES: Final = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home.arpa", "onion")
_FORM: Final = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?]*)(?P<rest>.*)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


def refusal(url: str, *, production: bool) -> str | None:
    """Return why a URL may not be an endpoint, or None. Plain http is for loopback in the dev profile only."""
    if why := _characters(url):
        return why
    form = _FORM.fullmatch(url)
    authority = form and _AUTHORITY.fullmatch(form["authority"])
    if not form or not authority:
        return "not an https URL of a plain host name or address, with a port at most"
    host, port = authority["host"].strip("[]").lower(), int(authority["port"] or 443)
    if why := _host(host, is_literal=authority["host"].startswith("[")):
        return why
    if not 0 < port < 65_536 or not _client_agrees(url, host):
        return "not a host and a port that exist"
    if not production and egress.is_loopback_name(host):
        return None
    return _place(form["scheme"].lower(), host, port, production)


def _characters(url: str) -> str | None:
    if len(url) > LENGTH_MAX:
        return f"longer than {LENGTH_MAX} characters"
    if not all("!" <= character <= "~" for character in url) or "\\" in url:
        return "write it in printable ASCII without backslashes; a host in other letters as xn--…"
    if "#" in url or "@" in url.partition("://")[2].replace("?", "/").partition("/")[0]:
        return "no user, password or fragment in the URL"
    return None


def _host(host: str, *, is_literal: bool) -> str | None:
    """Judge the spelling: whoever reads it must see the same host as whoever connects."""
    if is_literal or _NUMBER.fullmatch(host.rsplit(".", 1)[-1]):
        return None if _is_address(host) else "an address in an unusual spelling"
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        return "not a host name (no empty label, no dot at the end)"
    return None


def _client_agrees(url: str, host: str) -> bool:
    """Whether the HTTP client's parser sees the same host; an `xn--` label may decode to nothing."""
    try:
        parsed = URL(url)
        return parsed.raw_host == host and bool(parsed.host)
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _place(scheme: str, host: str, port: int, production: bool) -> str | None:
    if scheme != "https":
        return "https is required"
    if production and port not in PORTS:
        return f"the port must be {' or '.join(map(str, sorted(PORTS)))}"
    if _is_address(host):
        return None if egress.is_public(host) else "not an address of the public internet"
    if "." not in host or host.endswith(tuple(f".{suffix}" for suffix in LOCAL_SUFFIXES)):
        return "not a name of the public internet"
    return None

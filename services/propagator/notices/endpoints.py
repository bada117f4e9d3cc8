"""Where each third party is told, read once from the settings; what may never be called is refused at start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from services.propagator.notices import egress, signing


class EndpointError(ValueError):
    """A third party's entry in DONGUI_THIRD_PARTIES cannot be used. Says whose and why, never the secret."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"third party {name}: {why}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One third party's receiver. `earlier` are secrets that a rotation replaced and that sign a while yet."""

    recipient: str
    url: str
    secret: bytes = field(repr=False)
    earlier: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What a message to it is signed with, the present secret first."""
        return (self.secret, *self.earlier)


def parse(third_parties: Mapping[str, Mapping[str, Any]], *, production: bool) -> dict[str, Endpoint]:
    """Return the endpoints by recipient; a third party without a URL has none yet. Raises EndpointError."""
    return {name: _endpoint(name, found, production) for name, found in third_parties.items() if found.get("url")}


def _endpoint(name: str, found: Mapping[str, Any], production: bool) -> Endpoint:
    url = str(found["url"])
    if why := refusal(url, production=production):
        raise EndpointError(name, why)
    try:
        secret = signing.secret_of(str(found.get("secret", "")))
    except signing.SigningKeyError:
        raise EndpointError(name, "secret must be whsec_ and base64 of 24 to 64 bytes") from None
    return Endpoint(name, url, secret)


def refusal(url: str, *, production: bool) -> str | None:
    """Return why a URL may not be an endpoint, or None. Plain http is for loopback in the dev profile only."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "not a URL"
    if not host or parts.scheme not in {"http", "https"}:
        return "not an http or https URL"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "no user, password or fragment in the URL"
    if parts.scheme == "https":
        return None
    return None if not production and egress.is_loopback_name(host) else "https is required"

"""Where third parties are told: an endpoint, and those that the settings name. The rows are `registry`'s."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.propagator.notices import signing
from services.propagator.notices.urls import refusal


class EndpointError(ValueError):
    """A third party's endpoint cannot be used. Says whose and why, never the secret."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"third party {name}: {why}")
        self.name = name
        self.why = why


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
    """Return the endpoints of DONGUI_THIRD_PARTIES; a third party without a URL has none yet. Raises EndpointError."""
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

"""How each third party is told, read once from the settings; what may never be called is refused at start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit

from services.propagator.notices import egress, signing

CONCURRENCY: Final = range(1, 65)
MANUAL: Final = ("email", "post")
Channel = Literal["email", "post"]


class EndpointError(ValueError):
    """A third party's entry in DONGUI_THIRD_PARTIES cannot be used. Says whose and why, never the secret."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"third party {name}: {why}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One third party's receiver. `old_secret` signs as well until `old_until` (None = until it is taken out)."""

    recipient: str
    url: str
    secret: bytes = field(repr=False)
    old_secret: bytes | None = field(default=None, repr=False)
    old_until: datetime | None = None
    concurrency: int | None = None

    def secrets(self, now: datetime) -> tuple[bytes, ...]:
        """Return the secrets to sign with: the present one, and the old one while both are good."""
        if self.old_secret is None or (self.old_until is not None and now >= self.old_until):
            return (self.secret,)
        return (self.secret, self.old_secret)


@dataclass(frozen=True, slots=True)
class Directory:
    """Every third party we know how to tell: by webhook, or by staff through a channel."""

    webhooks: Mapping[str, Endpoint]
    manual: Mapping[str, Channel]


def parse(third_parties: Mapping[str, Mapping[str, Any]], *, production: bool) -> Directory:
    """Return how to tell whom; a third party without URL and channel is not there yet. Raises EndpointError."""
    manual = {name: _channel(name, found) for name, found in third_parties.items() if found.get("channel")}
    called = {name: found for name, found in third_parties.items() if found.get("url") and name not in manual}
    return Directory({name: _endpoint(name, found, production) for name, found in called.items()}, manual)


def _channel(name: str, found: Mapping[str, Any]) -> Channel:
    if found["channel"] not in MANUAL:
        raise EndpointError(name, "channel is email or post; leave it out for a webhook")
    if found.get("url"):
        raise EndpointError(name, "give a url or a channel, not both")
    return cast("Channel", found["channel"])


def _endpoint(name: str, found: Mapping[str, Any], production: bool) -> Endpoint:
    url = str(found["url"])
    if why := refusal(url, production=production):
        raise EndpointError(name, why)
    old = _secret(name, found, "old_secret") if found.get("old_secret") else None
    until = found.get("old_secret_until")
    return Endpoint(
        recipient=name,
        url=url,
        secret=_secret(name, found, "secret"),
        old_secret=old,
        old_until=_instant(name, until) if until else None,
        concurrency=_concurrency(name, found.get("concurrency")),
    )


def _secret(name: str, found: Mapping[str, Any], field_name: str) -> bytes:
    try:
        return signing.secret_of(str(found.get(field_name, "")))
    except signing.SigningKeyError:
        raise EndpointError(name, f"{field_name} must be whsec_ and base64 of 24 to 64 bytes") from None


def _instant(name: str, text: object) -> datetime:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise EndpointError(name, "old_secret_until must be an ISO 8601 instant with an offset")
    return at


def _concurrency(name: str, found: object) -> int | None:
    if found is None or (isinstance(found, int) and found in CONCURRENCY):
        return found
    raise EndpointError(name, f"concurrency is {CONCURRENCY[0]} to {CONCURRENCY[-1]}")


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

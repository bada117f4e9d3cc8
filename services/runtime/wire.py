"""Nothing crosses a network in clear: which addresses the settings may name, and how. Pure; asked at every start.

On loopback there is no wire. Everywhere else Kafka takes TLS and a SCRAM login, PostgreSQL TLS with a verified
certificate, and in the production profile our own HTTP services https.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from services.runtime.settings import DATABASES, Settings

SCRAM: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256")
VERIFIED: Final = ("verify-full", "verify-ca")
URLS: Final = ("consent_url", "audit_url", "retention_url", "jwks_url")
SCHEMES: Final = ("postgresql", "postgres")
_HOST: Final = re.compile(r"(\[[^\]@]+\]|[^:@\[\]]*)(:\d*)?")
_PLAINTEXT: Final = "PLAINTEXT"


class InsecureWireError(Exception):
    """A setting would send secrets or personal data in clear, or nobody can say where to; the message names each such
    setting and what to set.
    """


def require_secure(settings: Settings) -> None:
    """Raise InsecureWireError naming every setting that is not allowed; what is not set is not looked at."""
    found = [*kafka_faults(settings), *_database_faults(settings), *_url_faults(settings)]
    if found:
        raise InsecureWireError("; ".join(found))


def kafka_faults(settings: Settings) -> list[str]:
    """Return what is wrong with the way to Kafka, if anything."""
    if not settings.kafka:
        return []
    if settings.kafka_security == "SASL_SSL":
        return _login_faults(settings)
    if settings.kafka_security != _PLAINTEXT:
        return [
            "DONGUI_KAFKA_SECURITY must be SASL_SSL: SASL_PLAINTEXT shows the password, SSL alone says nobody's name"
        ]
    outside = [host for host in _bootstrap_hosts(settings.kafka) if not is_loopback(host)]
    if outside:
        return [f"DONGUI_KAFKA names {', '.join(outside)}, not loopback: set DONGUI_KAFKA_SECURITY=SASL_SSL"]
    if settings.profile != "dev":
        return ["DONGUI_KAFKA_SECURITY=PLAINTEXT is for the dev profile: set DONGUI_KAFKA_SECURITY=SASL_SSL"]
    return []


def _login_faults(settings: Settings) -> list[str]:
    found = []
    if settings.kafka_mechanism not in SCRAM:
        found.append(f"DONGUI_KAFKA_MECHANISM must be {' or '.join(SCRAM)}: PLAIN hands the password to the broker")
    if not settings.kafka_username:
        found.append("DONGUI_KAFKA_SECURITY=SASL_SSL needs DONGUI_KAFKA_USERNAME")
    if settings.kafka_password is None and settings.kafka_password_file is None:
        found.append("DONGUI_KAFKA_SECURITY=SASL_SSL needs DONGUI_KAFKA_PASSWORD_FILE (or DONGUI_KAFKA_PASSWORD)")
    return found


def _bootstrap_hosts(servers: str) -> list[str]:
    return [_host(server.strip()) for server in servers.split(",")]


def _database_faults(settings: Settings) -> Iterator[str]:
    for name, dsn in _dsns(settings):
        if hosts_of(dsn) is None:
            yield f"{name} is no postgresql://USER:PASSWORD@HOST:PORT/DATABASE; percent-encode PASSWORD (a / is %2F)"
        elif not _dsn_is_secure(dsn):
            yield f"{name} leaves this machine without verified TLS: add ?sslmode=verify-full&sslrootcert=FILE"


def _dsns(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield (what to call it, DSN) of every database that is named."""
    for field in (*(f"{name}_dsn" for name in DATABASES), "admin_dsn"):
        if getattr(settings, field) is not None:
            yield f"DONGUI_{field.upper()}", settings.secret(field)
    for field in ("affiliate_dsns", "owner_dsns"):
        for key, dsn in getattr(settings, field).items():
            yield f"DONGUI_{field.upper()}[{key}]", dsn.get_secret_value()


def hosts_of(dsn: str) -> str | None:
    """Return the hosts and ports of a libpq URL, as they stand there; None for what asyncpg would not read as one."""
    try:
        parts = urlsplit(dsn)
    except ValueError:  # its text holds a part of the DSN
        return None
    hosts = parts.netloc.partition("@")[2] if "@" in parts.netloc else parts.netloc
    return hosts if parts.scheme in SCHEMES and all(map(_HOST.fullmatch, hosts.split(","))) else None


def _dsn_is_secure(dsn: str) -> bool:
    """Say whether every host of a libpq URL is this machine, or TLS with a verified certificate is demanded."""
    parts = urlsplit(dsn)
    options = parse_qs(parts.query)
    if options.get("sslmode", [""])[-1] in VERIFIED:
        return True
    named = options.get("host", [parts.netloc.rpartition("@")[2]])[-1]
    hosts = [_host(unquote(host)) for host in named.split(",")]
    return all(host.startswith("/") or is_loopback(host) for host in hosts)


def _url_faults(settings: Settings) -> Iterator[str]:
    """The dev profile may have plain http inside one machine's container network; production may not."""
    urls = [(f"DONGUI_{field.upper()}", getattr(settings, field)) for field in URLS if getattr(settings, field)]
    urls += [(f"DONGUI_WITNESSES[{url}]", url) for url in settings.witnesses]
    for name, url in urls if settings.profile != "dev" else ():
        parts = urlsplit(url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            yield f"{name} is not https and not loopback: bearer tokens and keys would cross the network in clear"


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this machine's own. An empty one is nobody's: it would be guessed."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(place: str) -> str:
    """Return the host of `host`, `host:port`, `[v6]:port`; a socket's directory stays whole."""
    if place.startswith("/"):
        return place
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place.partition(":")[0] if place.count(":") == 1 else place

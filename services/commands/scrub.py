"""Pure: takes out of a text what must not leave the installation: known secrets, and what looks personal or secret.

Our own lines never hold any of it; this is for what others write (servers, libraries) and for a fault of ours.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson
from pydantic import SecretStr

from services.runtime import log
from services.runtime.settings import Settings

SECRET_MIN: Final = 6
"""Shorter ones would take ordinary words along."""
GONE: Final = log.REDACTED
PATTERNS: Final = (
    (re.compile(r"(?<=://)([^\s/:@\"']+):[^\s@\"']+@"), rf"\1:{GONE}@"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), GONE),
    (re.compile(r"(?i)\bbearer\s+[^\s\"']+"), f"Bearer {GONE}"),
    (re.compile(r"\$argon2\w*\$[^\s\"']+"), GONE),
    (re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"), GONE),
    (re.compile(r"(?<![\w.])(?:0\d{1,2}[- ]\d{3,4}[- ]\d{4}|01[016789]\d{7,8})(?![\w.])"), GONE),
    (re.compile(r"\b\d{6}-[1-8]\d{6}\b"), GONE),
    (re.compile(r"[가-힣]+(?:[ ·]?[가-힣]+)*"), GONE),
)
"""User and password of a URL, JWT, bearer token, password hash, e-mail, telephone, resident number, Korean text."""
MEMBER: Final = re.compile(r"(?i)(\"?member_ref\"?\s*[:=]\s*\"?)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def secrets_of(settings: Settings) -> frozenset[str]:
    """Return every secret the settings hold: tokens, DSNs, and the passwords in them."""
    found = set(_secrets(settings.model_dump()))
    found |= {part for secret in list(found) if (part := _password(secret))}
    return frozenset(secret for secret in found if len(secret) >= SECRET_MIN)


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, str) and "secret" in str(key):
                yield inner
            else:
                yield from _secrets(inner)


def _password(text: str) -> str | None:
    try:
        found = urlsplit(text).password
    except ValueError:
        return None
    return unquote(found) if found else None


def clean(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without the secrets, without what looks like one, and without anything that looks personal."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, GONE)
    for pattern, instead in PATTERNS:
        text = pattern.sub(instead, text)
    return MEMBER.sub(r"\1" + GONE, text)


def clean_lines(text: str, secrets: Iterable[str] = ()) -> str:
    """Return log lines likewise; of a line of JSON the personal keys go first."""
    known = tuple(secrets)
    return "".join(clean(_without_personal_keys(line), known) + "\n" for line in text.splitlines())


def _without_personal_keys(line: str) -> str:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line
    return orjson.dumps(log.redact(None, "", found)).decode() if isinstance(found, dict) else line

"""Pure: a member's values as staff see them until they say why they need them: enough to tell two people apart."""

import re
from collections.abc import Mapping
from typing import Any, Final

HIDDEN: Final = "***"
MASKED: Final = "*"
PHONE: Final = re.compile(r"^(0\d{2}|\+\d{1,3}|0\d)([- ]?\d{3,4}[- ]?)(\d{4})$")


def name(value: str) -> str:
    """홍길동 → 홍*동, 홍길 → 홍*, 남궁길동 → 남**동."""
    if len(value) <= 2:
        return value[:1] + MASKED
    return value[0] + MASKED * (len(value) - 2) + value[-1]


def email(value: str) -> str:
    """hong@example.com → h***@example.com."""
    local, at, domain = value.rpartition("@")
    return f"{local[:1]}{HIDDEN}@{domain}" if at else HIDDEN


def phone(value: str) -> str:
    """010-1234-5678 → 010-****-5678."""
    found = PHONE.match(value)
    return f"{found[1]}{re.sub(r'[0-9]', MASKED, found[2])}{found[3]}" if found else HIDDEN


def item(key: str, value: Any) -> Any:
    """One item of a profile by its name; whatever has no shape of its own is hidden whole."""
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return HIDDEN
    shapes = {"phone": phone, "mobile": phone, "email": email, "name": name}
    return shapes.get(key, lambda _: HIDDEN)(value)


def member(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer of GET /v1/members/{ref} with `email`, `name` and every item masked."""
    own = {"email": shown["email"] and email(shown["email"]), "name": shown["name"] and name(shown["name"])}
    return {**shown, **own, "profiles": [_profile(p) for p in shown["profiles"]], "masked": True}


def _profile(profile: Mapping[str, Any]) -> dict[str, Any]:
    plain = {"service", "role"}
    return {key: value if key in plain else item(key, value) for key, value in profile.items()}

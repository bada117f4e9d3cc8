"""Clause 6.2 applied: does a profile have the items of its role, and no others? (PIPA 16(1), 16(3))"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from services.policy.model import Rules
from services.policy.shapes import Item, RoleItems

TEXT_MAX = 200
LIST_MAX = 500
_PLAIN_NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")


@dataclass(frozen=True)
class Violation:
    """What is wrong: a JSON Pointer, a stable code, and the names that would be right. Never the value."""

    pointer: str
    code: str
    known: tuple[str, ...] = ()


def validate_profile(rules: Rules, service: str, role: str, items: Mapping[str, Any]) -> list[Violation]:
    """Return what keeps these items from being the profile of a role; none when they are.

    Codes: unknown_service, missing_role, unknown_role, account_item, unknown_item, missing_item, ill_formed.
    """
    known_service = rules.services.get(service)
    if known_service is None:
        return [Violation("/service", "unknown_service", tuple(sorted(rules.services)))]
    known_role = known_service.role(role)
    if known_role is None:
        code = "unknown_role" if role else "missing_role"
        return [Violation("/role", code, tuple(r.id for r in known_service.roles))]
    return [
        *_superfluous(rules, known_role, items),
        *_missing(known_role, items),
        *_ill_formed(rules, known_role, items),
    ]


def _superfluous(rules: Rules, role: RoleItems, items: Mapping[str, Any]) -> Iterator[Violation]:
    for name in items:
        if name in role.items:
            continue
        known = rules.items.get(name)
        code = "account_item" if known is not None and known.account else "unknown_item"
        yield Violation(_pointer(name), code, role.items)


def _missing(role: RoleItems, items: Mapping[str, Any]) -> Iterator[Violation]:
    yield from (Violation(f"/{name}", "missing_item", role.required) for name in role.required if name not in items)


def _ill_formed(rules: Rules, role: RoleItems, items: Mapping[str, Any]) -> Iterator[Violation]:
    present = (name for name in role.items if name in items)
    yield from (
        Violation(f"/{name}", "ill_formed") for name in present if not _well_formed(rules.items[name], items[name])
    )


def _well_formed(item: Item, value: Any) -> bool:
    if item.kind == "list":
        return isinstance(value, list) and len(value) <= LIST_MAX and all(_is_text(one) for one in value)
    return _is_text(value) and (item.kind != "date" or day_of(value) is not None)


def day_of(value: object) -> date | None:
    """Return the day that an item of kind `date` names; None for what names none."""
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _is_text(value: Any) -> bool:
    """Control characters and lone surrogates have no place in a value and cannot be stored."""
    if not isinstance(value, str) or not value.strip() or len(value) > TEXT_MAX:
        return False
    return not any(unicodedata.category(c) in {"Cc", "Cs"} for c in value)


def _pointer(name: str) -> str:
    """An unknown field's own name may hold a value, so only short plain names are repeated."""
    return f"/{name}" if _PLAIN_NAME.match(name) else "/*"

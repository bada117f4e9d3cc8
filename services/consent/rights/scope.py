"""Pure: what a request is about: names of items, of a suspension purposes too; everything where it names none."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.consent import disclosures
from services.consent.model import Member
from services.consent.refusals import field
from services.consent.rights.bodies import ChangesBody
from services.policy.model import Rules
from services.runtime.problem import Problem

ACCOUNT: Final = ("email", "name", "birth_date")
"""The account's items that a request can correct."""


def everything(rules: Rules, type_: str, member: Member) -> frozenset[str]:
    """Return all that a request of a type can be about: the member's items; of a suspension the purposes too."""
    values = frozenset(member.values())
    return frozenset(filter(_suspendable, values)) | frozenset(rules.purposes) if type_ == "suspension" else values


def corrected(changes: ChangesBody) -> frozenset[str]:
    """Return the names of the items that a correction gives anew."""
    return frozenset(account(changes)) | {
        f"{p.service}.{name}" for p in changes.profiles or [] for name in (*p.items(), *(["role"] if p.role else []))
    }


def account(changes: ChangesBody) -> dict[str, Any]:
    """Return the account's items that a correction gives anew, with their values."""
    return {name: getattr(changes, name) for name in ACCOUNT if name in changes.model_fields_set}


def only(changes: ChangesBody, items: frozenset[str] | None) -> ChangesBody:
    """Return a correction that gives these items alone; None: all of it."""
    if items is None:
        return changes
    told = changes.model_dump(exclude_unset=True)
    kept: dict[str, Any] = {name: told[name] for name in ACCOUNT if name in told and name in items}
    profiles = [_only(profile, items) for profile in told.get("profiles", [])]
    if wanted := [p for p in profiles if len(p) > 1]:
        kept["profiles"] = wanted
    return ChangesBody.model_validate(kept)


def _only(profile: Mapping[str, Any], items: frozenset[str]) -> dict[str, Any]:
    service = profile["service"]
    return {name: v for name, v in profile.items() if name == "service" or f"{service}.{name}" in items}


def suspended(rules: Rules, member: Member, items: Sequence[str], purposes: Sequence[str]) -> frozenset[str]:
    """Return what a suspension in part names, in full. Problem 422 for an item not there or a purpose not ours."""
    values = member.values()
    named = [disclosures.resolved(values, item, position) for position, item in enumerate(items)]
    for position, item in enumerate(named):
        if not _suspendable(item):
            raise _not_suspendable(position)
    for position, purpose in enumerate(purposes):
        if purpose not in rules.purposes:
            raise unknown_purpose(rules, position)
    return frozenset(named) | frozenset(purposes)


def full_name(asked: frozenset[str], values: Mapping[str, Any], name: str, position: int) -> str:
    """Return the full name of an item that a decision names as the request did, or short where that says which."""
    if name in asked:
        return name
    short = [item for item in asked if item.endswith(f".{name}")]
    return short[0] if len(short) == 1 else disclosures.resolved(dict(values), name, position)


def _suspendable(item: str) -> bool:
    """A role is what a processor row is of: it is suspended with the items, not apart from them."""
    return not item.endswith(".role")


def _not_suspendable(position: int) -> Problem:
    return field(
        422,
        "item_not_suspendable",
        f"/items/{position}",
        "역할(role)만 따로 정지할 수 없습니다. 그 서비스의 항목이나 처리 전체의 정지로 요구해 주세요.",
        "A role cannot be suspended alone. Name items of the service, or ask for the whole processing.",
    )


def unknown_purpose(rules: Rules, position: int) -> Problem:
    """The refusal of a purpose that clause 1 does not have."""
    known = ", ".join(rules.purposes)
    return field(
        422,
        "unknown_purpose",
        f"/purposes/{position}",
        f"처리방침 1조의 목적이 아닙니다. 가능한 값: {known}",
        f"Not a purpose of clause 1. Choose from: {known}",
    )

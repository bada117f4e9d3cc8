"""Profiles of clause 6.2: the body's items merged into what is there, then checked against the policy's item table."""

from collections.abc import Mapping
from typing import Any

from services.consent.bodies import ProfileBody
from services.consent.model import Profile
from services.policy import decide as policy
from services.policy.model import Rules
from services.runtime.problem import Problem


def validated(rules: Rules, present: Mapping[str, Profile], bodies: list[ProfileBody]) -> dict[str, Profile]:
    """Return all profiles after the change. Raise Problem 422 naming each unknown, missing or ill-formed item."""
    wanted = dict(present)
    errors: list[dict[str, Any]] = []
    seen: set[str] = set()
    for position, body in enumerate(bodies):
        if body.service in seen:
            errors.append({"pointer": f"/profiles/{position}/service", "code": "duplicate_service"})
            continue
        seen.add(body.service)
        profile = _merged(wanted.get(body.service), body)
        problems = policy.validate_profile(rules, profile.service, profile.role, profile.items)
        errors += [_error(f"/profiles/{position}{p.pointer}", p.code, p.known) for p in problems]
        wanted[body.service] = profile
    if errors:
        names = ", ".join(f"{e['pointer']} ({e['code']})" for e in errors)
        raise Problem(
            422,
            "invalid_profile",
            f"프로필 항목을 확인해 주세요: {names}",
            f"Check these profile items: {names}",
            errors=errors,
        )
    return wanted


def _merged(before: Profile | None, body: ProfileBody) -> Profile:
    """Overlay the items given on those there; a changed role starts anew, its items are its own."""
    items = body.items()
    role = body.role or (before.role if before else "")
    if before is not None and before.role == role:
        items = {**before.items, **items}
    return Profile(body.service, role, items)


def _error(pointer: str, code: str, known: tuple[str, ...]) -> dict[str, Any]:
    """One error, with the names that would be right where the policy knows them."""
    return {"pointer": pointer, "code": code, **({"known": list(known)} if known else {})}

"""What a version of the policy tells in clauses 9 to 11, and of unused accounts (2.2), as data for a page."""

from datetime import datetime
from typing import Any

from services.policy import contacts, dormancy
from services.runtime.problem import Problem


def listed(at: datetime) -> dict[str, Any]:
    """Return every version, oldest first, and the one in force at an instant."""
    told = [{"version": c.version, "effective_from": c.effective_from} for c in contacts.versions().values()]
    return {"current": contacts.current(at).version, "versions": told}


def shown(version: str, at: datetime) -> dict[str, Any]:
    """Return one version and whether it is in force at an instant; 404 for none. `dormancy` lists all promises."""
    found = contacts.versions().get(version)
    if found is None:
        raise Problem(404, "policy_not_found", "그 버전의 처리방침이 없습니다.", "There is no policy of this version.")
    return {
        **found.model_dump(mode="json"),
        "in_force": contacts.current(at).version == version,
        "dormancy": [p.model_dump(mode="json") for p in dormancy.all_promises()],
    }

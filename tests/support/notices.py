"""A notice version made for tests: the one of 2021-02-22, but its marketing part tells of the telephone number too.

No published notice does, so no text message may advertise (rule 12-scope); what else decides about them is tested here.
"""

from functools import cache
from importlib.resources import files

from services.policy.model import FILES, Rules, parse

WITH_PHONE = "2026-01-01"
_TEXTS = {n: files("services.policy").joinpath(f"rules/{n}.toml").read_text(encoding="utf-8") for n in FILES}


@cache
def rules_with_phone() -> Rules:
    """Return the policy with that version beside the published ones, in force from its date on."""
    published = _TEXTS["notices"]
    made = published[published.index("[[notice]]") :].replace("2021-02-22", WITH_PHONE)
    told = made.replace(
        'purposes = ["P1.5"]\nitems = ["email", "name"]', 'purposes = ["P1.5"]\nitems = ["email", "name", "phone"]'
    )
    assert told != made
    return parse(_TEXTS, [told])

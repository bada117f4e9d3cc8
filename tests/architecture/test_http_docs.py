"""docs/http.md names every endpoint there is and none that is not, each with who may call it."""

import re
from pathlib import Path
from typing import Any

from services.audit import api as audit
from services.consent import api as consent
from services.retention import api as retention
from services.runtime.web import Api

PAGE = Path(__file__).resolve().parents[2] / "docs" / "http.md"
ROW = re.compile(r"^\| `([A-Z]+) (/[^`]*)` ?◦? \| ([^|]+) \|")
ANYTHING: Any = None
"""What only a request would touch: the routes are asked for, not called."""


async def _ready() -> dict[str, bool]:
    return {}


def applications() -> dict[str, Api]:
    """Return the three applications: they are asked for their documents, not called."""
    return {
        "consent": consent.create(ANYTHING, ANYTHING, ANYTHING, _ready),
        "audit": audit.create(ANYTHING, ANYTHING, ANYTHING, vkey="", clock=ANYTHING, ready=_ready),
        "retention": retention.create(ANYTHING, ANYTHING, ANYTHING, _ready, ANYTHING, ""),
    }


def offered() -> set[tuple[str, str]]:
    """Return (method, path) of every operation of every API."""
    return {
        (method.upper(), path)
        for app in applications().values()
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    }


def rows() -> list[tuple[str, str, str]]:
    """Return (method, path, who) of each line of the page's tables."""
    found = [ROW.match(line) for line in PAGE.read_text(encoding="utf-8").splitlines()]
    return [(m[1], m[2], m[3].strip()) for m in found if m]


def test_the_page_lists_every_endpoint_once_and_no_other() -> None:
    documented = [(method, path) for method, path, _ in rows()]
    assert sorted(set(documented) - offered()) == [], "documented, but not there"
    assert sorted(offered() - set(documented)) == [], "there, but not documented"
    assert len(documented) == len(set(documented))


def test_every_endpoint_says_who_may_call_it() -> None:
    known = {
        "service",
        "staff",
        "officers",
        "handlers",
        "member",
        "affiliate",
        "third party",
        "anybody",
        "compliance",
        "cpo",
    }
    unsaid = [path for _, path, who in rows() if not any(w in who for w in (*known, "the same", "as the request"))]
    assert unsaid == []

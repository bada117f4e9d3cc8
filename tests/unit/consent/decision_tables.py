"""Decision tables of `GET /v1/decisions`: what compliance staff write (`given`, `ask`, `then`), read into values.

A consent is `purpose:party:channel @ from .. until, version`; a status or a profile is `what @ from`; a ledger row is
`recipient role item+item purpose @ at`. What is left out is plain: the sign-up instant, no end, the present version.
"""

import re
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, Field

from schemas.base import MemberStatus, Shape
from services.consent.decisions.history import Given, Grant, History, PartsSpan, ProfileSpan, StatusSpan
from services.consent.decisions.model import Question

FOLDER = Path(__file__).parents[2] / "golden" / "decisions"
JOINED = datetime.fromisoformat("2026-01-05T10:00:00+09:00")
GRANT = re.compile(r"(?P<what>[a-z:-]+)(?: @ (?P<start>\S+))?(?: \.\. (?P<end>[^,\s]+))?(?:, (?P<version>\S+))?")
SPAN = re.compile(r"(?P<what>\S+)(?: @ (?P<start>\S+))?")
ROW = re.compile(r"(?P<recipient>\S+) (?P<role>\S+) (?P<items>\S+) (?P<purpose>\S+)(?: @ (?P<at>\S+))?")


def when(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else JOINED


class AtInstant(Shape):
    """The member up to the instant asked about."""

    statuses: tuple[str, ...] = ("active",)
    consents: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    ledger: tuple[str, ...] = ()
    checks: tuple[tuple[int, AwareDatetime], ...] = ()
    """(position of the consent from 1, instant) of each two-year check done"""

    suspended: tuple[str, ...] = ()
    """`name+name @ from`: what is suspended in part from an instant on; `none` for nothing any more"""

    def history(self) -> History:
        return History(
            signed_up_at=JOINED,
            statuses=tuple(_status(i, text) for i, text in enumerate(self.statuses)),
            grants=tuple(_grant(i, text) for i, text in enumerate(self.consents, 1)),
            profiles=tuple(_profile(i, text) for i, text in enumerate(self.profiles)),
            ledger=tuple(_row(i, text) for i, text in enumerate(self.ledger)),
            checks=self.checks,
            parts=tuple(_suspended(i, text) for i, text in enumerate(self.suspended)),
        )


class Asked(Shape):
    recipient: str
    purpose: str
    item: str | None = None
    medium: str | None = None
    at: AwareDatetime = datetime.fromisoformat("2026-11-23T10:00:00+09:00")

    def question(self) -> Question:
        return Question(self.recipient, self.purpose, self.at, self.item, self.medium)  # type: ignore[arg-type]


class Then(Shape):
    allowed: bool
    rule: str
    evidence: tuple[str, ...] | None = None
    """The kinds, in order, beside the rule itself; not said = not looked at"""


class Line(Shape):
    name: str
    given: AtInstant = AtInstant()
    ask: Asked
    then: Then


class DecisionTable(Shape):
    rule: str
    cases: tuple[Line, ...] = Field(alias="case", min_length=1)


def read(path: Path) -> DecisionTable:
    return DecisionTable.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


def _status(i: int, text: str) -> StatusSpan:
    found = _parts(SPAN, text)
    status: MemberStatus = found["what"]
    return StatusSpan(status, when(found["start"]), f"change-{i}")


def _grant(i: int, text: str) -> Grant:
    found = _parts(GRANT, text)
    purpose, party, channel = (*found["what"].split(":"), "", "")[:3]
    version = found["version"] or "2021-02-22"
    end = when(found["end"]) if found["end"] else None
    evidence = (version, f"hash of {version}", "web", "member", f"change-{i}")
    return Grant(i, purpose, party, channel, *evidence, when(found["start"]), end, "later" if end else None)


def _profile(i: int, text: str) -> ProfileSpan:
    found = _parts(SPAN, text)
    service, _, role = found["what"].partition(":")
    return ProfileSpan(service, role or None, (), "web", f"change-{i}", when(found["start"]))


def _suspended(i: int, text: str) -> PartsSpan:
    found = _parts(SPAN, text)
    parts = frozenset() if found["what"] == "none" else frozenset(found["what"].split("+"))
    return PartsSpan(parts, when(found["start"]), f"change-{i}")


def _row(i: int, text: str) -> Given:
    found = _parts(ROW, text)
    items = frozenset(found["items"].split("+"))
    return Given(f"row-{i}", found["recipient"], found["role"], items, found["purpose"], "consent", when(found["at"]))


def _parts(pattern: re.Pattern[str], text: str) -> dict[str, Any]:
    found = pattern.fullmatch(text)
    assert found, f"not understood: {text}"
    return found.groupdict()

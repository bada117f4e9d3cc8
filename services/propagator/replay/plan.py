"""Pure: what a replay reads again and what it would do, as a file that one person writes and another approves."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import orjson
from aiokafka import ConsumerRecord
from pydantic import Field, ValidationError

from schemas.base import Shape, Uuid

Effect = Literal["receipts", "dead-letters", "notices"]
Source = Literal["kafka", "consent"]
EFFECTS: Final[tuple[Effect, ...]] = ("receipts", "dead-letters", "notices")
SHOWN_MAX: Final = 100
"""Members a plan names; it counts all of them."""


class PlanError(Exception):
    """The file is no plan of ours, or was changed after it was written. Plan again."""


class Selection(Shape):
    """Which records: of which affiliates, and of these which member, change, type and instants [since, until).

    `offsets`, by affiliate and partition, is where to start; what is not in them is not read at all.
    """

    affiliates: tuple[str, ...]
    member: Uuid | None = None
    change: Uuid | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    offsets: dict[str, dict[int, int]] | None = None
    partitions: tuple[int, ...] | None = None

    @property
    def whole_history(self) -> bool:
        """Whether it takes all that a topic has of each member it takes anything of."""
        narrowed = (self.change, self.type, self.since, self.until, self.offsets, self.partitions)
        return all(part is None for part in narrowed)


class Range(Shape):
    """Offsets [start, end) of one partition. `first` is the oldest the broker still has."""

    partition: int
    start: int
    end: int
    first: int

    @property
    def records(self) -> int:
        """How many offsets there are to read."""
        return max(0, self.end - self.start)


class Difference(Shape):
    """How one member's rows would change: columns by name, never values. `rows`: which of the two rows."""

    member_ref: str
    rows: dict[str, tuple[str, ...]]


class Share(Shape):
    """One affiliate's part of a plan: where its records are, and what applying them again would do."""

    affiliate: str
    topic: str
    ranges: tuple[Range, ...]
    read: int = 0
    selected: int = 0
    duplicates: int = 0
    applied: int = 0
    superseded: int = 0
    skipped_destroyed: int = 0
    refused: int = 0
    members: int = 0
    members_changed: int = 0
    differences: tuple[Difference, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the topic still has its very first records."""
        return all(r.first == 0 for r in self.ranges)


class Plan(Shape):
    """A replay before it runs. `not_sent`: what stays unsent unless its effect is named."""

    plan_id: Uuid
    planned_at: datetime
    reason: str
    source: Source
    selection: Selection
    effects: tuple[Effect, ...] = ()
    rate: int = Field(ge=1)
    shares: tuple[Share, ...]
    estimated_s: float
    not_sent: dict[str, int | str]

    @property
    def total(self) -> int:
        """How many offsets are to be read, or members where the ledger is the source."""
        if self.source == "consent":
            return sum(share.members for share in self.shares)
        return sum(r.records for share in self.shares for r in share.ranges)

    def share(self, affiliate: str) -> Share:
        """Return one affiliate's part."""
        return next(s for s in self.shares if s.affiliate == affiliate)

    def summary(self) -> dict[str, Any]:
        """Return the counts that are registered beside the plan's hash: no reference of a member."""
        counted = {"ranges", "differences", "topic", "affiliate"}
        shares = {s.affiliate: s.model_dump(mode="json", exclude=counted) for s in self.shares}
        return {"source": self.source, "effects": list(self.effects), "total": self.total, "affiliates": shares}


def digest(plan: Plan) -> str:
    """Return the SHA-256 of a plan in hex: what is approved."""
    dumped = plan.model_dump(mode="json")
    return hashlib.sha256(orjson.dumps(dumped, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)).hexdigest()


def to_file(plan: Plan, planned_by: str) -> bytes:
    """Return the file's bytes: the plan, its hash, and whose token it was registered with."""
    told = {"plan": plan.model_dump(mode="json"), "sha256": digest(plan), "planned_by": planned_by}
    return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)


def from_file(content: bytes) -> tuple[Plan, str]:
    """Return a plan and its hash; raise PlanError for a file that is none, or whose plan has another hash."""
    try:
        found = orjson.loads(content)
        plan, told = Plan.model_validate(found["plan"], strict=False), found["sha256"]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        raise PlanError(f"this is no plan of a replay ({type(error).__name__}); write one with: replay plan") from error
    if digest(plan) != told:
        raise PlanError("the plan was changed after it was written; plan again")
    return plan, told


def parse_offsets(text: str, affiliate_of: Mapping[str, str]) -> dict[str, dict[int, int]]:
    """Read `topic,partition,offset` lines (what kafka-consumer-groups --export writes) by affiliate and partition.

    Raises PlanError naming the line that is wrong or the topic that is no affiliate's, and when there is no line.
    """
    found: dict[str, dict[int, int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        parts = [part.strip().strip('"') for part in line.split(",")]
        if len(parts) != 3 or not (parts[1].isdecimal() and parts[2].isdecimal()):
            raise PlanError(f"line {number} of the offsets is not topic,partition,offset")
        if parts[0] not in affiliate_of:
            raise PlanError(f"line {number} of the offsets names no affiliate's topic: {parts[0]}")
        found.setdefault(affiliate_of[parts[0]], {})[int(parts[1])] = int(parts[2])
    if not found:
        raise PlanError("the offsets are empty; give lines of topic,partition,offset")
    return found


def affiliates_in(offsets: Mapping[str, Mapping[int, int]], asked: Sequence[str]) -> tuple[str, ...]:
    """Return whom a replay from offsets is of: those asked for, else all that the offsets name.

    Raises PlanError for one that is asked for and not named: nobody said where to start.
    """
    if unnamed := sorted(set(asked) - set(offsets)):
        raise PlanError(f"the offsets name no partition of: {', '.join(unnamed)}")
    return tuple(asked or sorted(offsets))


def selects(selection: Selection, record: "ConsumerRecord[Any, Any]") -> bool:
    """Say whether a record is meant, by its headers alone: no key is needed."""
    if selection.member is selection.change is selection.type is None:
        return True
    headers = dict(record.headers)
    wanted = {
        b"ce_subject": selection.member,
        b"ce_changeid": selection.change,
        b"ce_type": f"kr.dongui.member.{selection.type}.v1" if selection.type else None,
    }
    return all(headers.get(name.decode()) == value.encode() for name, value in wanted.items() if value is not None)


def not_sent(shares: Iterable[Share], effects: Iterable[Effect]) -> dict[str, int | str]:
    """Return what a replay under these effects leaves unsent; a duplicate has no receipt in any case."""
    named, told = set(effects), list(shares)
    left: dict[str, int | str] = {
        "receipts": sum(s.applied + s.superseded + s.skipped_destroyed + s.refused for s in told),
        "dead-letters": sum(s.refused for s in told),
        "notices": "every correction notice, webhook, mail and SMS",
    }
    return {name: value for name, value in left.items() if name not in named}

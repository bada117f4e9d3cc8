"""Pure: what one attempt means for its notice, and the body that is sent."""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

import orjson

from schemas.events import Notice, event_type
from services.propagator.notices import schedule
from services.propagator.notices.plan import Schedule

BODY_BYTES_MAX: Final = 20_000
REASON: Final = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
OUTCOMES: Final = frozenset({"corrected", "not_held", "refused"})
Outcome = Literal["corrected", "not_held", "refused"]
Waiting = Literal["pending", "no_endpoint", "disabled", "manual", "delivered"]
MASK: Final = "***"


class TooLargeError(Exception):
    """The body would be 20 kB or more: receivers of Standard Webhooks need not take that."""

    code: Final = "too_large"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: a status with the start of its body, or the class of the error."""

    milliseconds: int
    status: int | None = None
    body: bytes = b""
    retry_after: str | None = None
    error: str | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def without_words(self, error: str) -> "Reply":
        """Return what is left of it when nothing that the third party worded can be read: its status, and why."""
        return replace(self, body=b"", retry_after=None, error=error)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The third party said what it did."""

    outcome: Outcome
    reason: str | None


@dataclass(frozen=True, slots=True)
class Again:
    """Ask again at `due_at`; `disable` is the receiver's 410: send it nothing more."""

    state: Waiting
    due_at: datetime
    disable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """Attempt number `attempts` (from 1) of a notice; `delivered` says whether an earlier one got a 2xx."""

    notice_id: str
    attempts: int
    delivered: bool


def judge(reply: Reply, attempted: Attempted, waits: Schedule, *, now: datetime, jitter: float) -> Acknowledged | Again:
    """Return what follows from an answer.

    A redirect is a failure; nothing but an outcome in the body of a 2xx is an acknowledgement, and none that names
    another notice than the one it answers.
    """
    if reply.is_success and (said := answer_in(reply.body, attempted.notice_id)) is not None:
        return said
    arrived = attempted.delivered or reply.is_success
    if reply.status == 410:
        return Again("delivered" if arrived else "disabled", now, disable=True)
    due_at = schedule.next_at(waits, now, attempted.attempts, jitter, reply.retry_after)
    return Again("delivered" if arrived else "pending", due_at)


def answer_in(body: bytes, notice_id: str | None = None) -> Acknowledged | None:
    """Return the acknowledgement in a response body, or None; with an id, only one that names no other notice.

    A reason that is no code is dropped.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or not isinstance(outcome := found.get("outcome"), str) or outcome not in OUTCOMES:
        return None
    if notice_id is not None and found.get("notice_id", notice_id) != notice_id:
        return None
    reason = found.get("reason")
    coded = isinstance(reason, str) and REASON.fullmatch(reason) is not None
    return Acknowledged(outcome, reason if coded else None)  # type: ignore[arg-type]


def masked_answer(reply: Reply, notice_id: str) -> dict[str, Any]:
    """Return what may be kept of an answer: its codes when it is an acknowledgement, else only its size."""
    said = answer_in(reply.body, notice_id) if reply.is_success else None
    if said is None:
        return {"bytes": len(reply.body)}
    return {"outcome": said.outcome} | ({"reason": said.reason} if said.reason else {})


def masked_body(notice: Notice) -> dict[str, Any]:
    """Return the body with every value replaced: what the delivery log shows."""
    data = _data(notice)
    shown = data | {"corrected_at": data["corrected_at"].isoformat(), "values": dict.fromkeys(data["values"], MASK)}
    return {"type": event_type("corrected"), "timestamp": notice.corrected_at.isoformat(), "data": shown}


def body_of(notice: Notice) -> bytes:
    """Return the JSON a third party gets: the same bytes at every attempt. Raises TooLargeError."""
    body = orjson.dumps(
        {
            "type": event_type("corrected"),
            "timestamp": notice.corrected_at,
            "data": _data(notice),
        }
    )
    if len(body) >= BODY_BYTES_MAX:
        raise TooLargeError
    return body


def _data(notice: Notice) -> dict[str, Any]:
    pull = {"withheld": notice.withheld, "pull": f"/v1/notices/{notice.notice_id}"} if notice.withheld else {}
    return {
        "notice_id": notice.notice_id,
        "change_id": notice.change_id,
        "member_ref": notice.member_ref,
        "sequence": notice.seq,
        "items": notice.items,
        "values": {item: notice.values[item] for item in notice.items if item in notice.values},
        "corrected_at": notice.corrected_at,
        **pull,
    }

"""Pure: what one store knows of one member, and how a record changes it (docs/decisions/0002).

Five cells, each last-writer-wins by seq; the visible rows are a function of the cells. So any order, any
duplication and any replay of the same records ends in the same rows, watermarks and gaps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar

from schemas.events import Projection, Stop
from schemas.receipts import Stage

T = TypeVar("T")
Empty = Literal["absent", "ended"]
"""`absent`: there is no row. `ended`: the row stays without its values (withdrawn)."""


@dataclass(frozen=True, slots=True)
class Values:
    """What a recipient may have under clause 3.2, without the status. None: suspended in part, given or read back."""

    email: str | None
    name: str | None
    password_hash: str | None
    signed_up_at: datetime


@dataclass(frozen=True, slots=True)
class Processed:
    """What a processor holds for the service it runs (clause 4.3)."""

    service: str
    role: str
    items: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Status:
    """A member's status; `at` is the instant of a withdrawal, None otherwise."""

    name: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Cell(Generic[T]):
    """A value and the seq of the record that wrote it; 0 = never written."""

    seq: int
    value: T


@dataclass(frozen=True, slots=True)
class Gap:
    """Sequences known to be missing: after < seq <= upto."""

    after: int
    upto: int
    noticed_at: datetime


@dataclass(frozen=True, slots=True)
class State:
    """All a store knows of one member. `seq` is the watermark; `gaps` are below it, in order."""

    member_ref: str
    seq: int = 0
    gaps: tuple[Gap, ...] = ()
    values: Cell[Values | Empty] = Cell(0, "absent")
    processed: Cell[Processed | Empty] = Cell(0, "absent")
    marketing: Cell[Mapping[str, bool] | None] = Cell(0, None)
    status: Cell[Status] = Cell(0, Status())
    parts: Cell[tuple[str, ...]] = Cell(0, ())
    """The items and purposes suspended in part: out of sight until a projection lifts them."""
    suppressed: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """One record for one member. `change` None: its key was destroyed, nobody can read it any more."""

    member_ref: str
    seq: int
    prev: int
    change_id: str | None
    change: Projection | Stop | None


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A visible row of `member`, without `applied_at`."""

    member_ref: str
    seq: int
    email: str | None
    name: str | None
    password_hash: str | None
    status: str | None
    signed_up_at: datetime | None
    withdrawn_at: datetime | None
    marketing: Mapping[str, bool] | None
    suspended: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class ProcessedRow:
    """A visible row of `processed_member`, without `applied_at`."""

    member_ref: str
    seq: int
    service: str | None
    role: str | None
    items: Mapping[str, Any] | None
    suspended: tuple[str, ...] | None
    status: str | None
    """What stands over the row: suspended (37(2)), asked to leave, withdrawn; None for a membership that is active."""


Writes = dict[str, Any]
"""Cell name to the value a record writes into it."""
_BLANK: Final = State("")
MARKETING_PURPOSE: Final = "P1.5"


def is_duplicate(state: State, seq: int) -> bool:
    """Say whether this seq was seen before: at or below the watermark and in no gap."""
    return seq <= state.seq and _gap_of(state, seq) is None


def receive(state: State, arrival: Arrival, now: datetime) -> tuple[State, Stage | None]:
    """Return the state after a record, and the stage to answer with; None for a duplicate (no change, no answer)."""
    stage: Stage
    if arrival.seq > state.seq:
        gaps, stage = _opened(state, arrival, now), "applied"
    elif (gap := _gap_of(state, arrival.seq)) is not None:
        gaps, stage = _filled(state, gap, arrival), "superseded"
    else:
        return state, None
    seq = max(state.seq, arrival.seq)
    if state.suppressed or arrival.change is None:
        return replace(state, seq=seq, gaps=gaps), "skipped_destroyed"
    if isinstance(arrival.change, Stop) and arrival.change.stop == "erased":
        return suppress(replace(state, seq=seq, gaps=gaps)), stage
    return replace(state, seq=seq, gaps=gaps, **_newer(state, arrival.change)), stage


def suppress(state: State) -> State:
    """Return the state of a member who may never come back: no cell says anything, whatever was or will be read."""
    return replace(
        _BLANK,
        member_ref=state.member_ref,
        seq=state.seq,
        gaps=state.gaps,
        suppressed=True,
    )


def _gap_of(state: State, seq: int) -> Gap | None:
    return next((gap for gap in state.gaps if gap.after < seq <= gap.upto), None)


def _opened(state: State, arrival: Arrival, now: datetime) -> tuple[Gap, ...]:
    """Return the gaps when a record comes that is newer than all: what it says came before, and did not."""
    return (*state.gaps, Gap(state.seq, arrival.prev, now)) if state.seq < arrival.prev else state.gaps


def _filled(state: State, gap: Gap, arrival: Arrival) -> tuple[Gap, ...]:
    """Close a gap by a record out of it; what is missing before or after that record stays open."""
    rest = (Gap(gap.after, arrival.prev, gap.noticed_at), Gap(arrival.seq, gap.upto, gap.noticed_at))
    left = tuple(g for g in rest if g.after < g.upto)
    at = state.gaps.index(gap)
    return state.gaps[:at] + left + state.gaps[at + 1 :]


def _newer(state: State, change: Projection | Stop) -> dict[str, Any]:
    """Return the cells that a change writes: those whose last writer is older."""
    wanted = _projected(change) if isinstance(change, Projection) else _stopped(change)
    return {n: Cell(change.seq, v) for n, v in wanted.items() if change.seq > getattr(state, n).seq}


def _projected(p: Projection) -> Writes:
    """A projection is the full state: it writes every cell."""
    member, processed = p.member, p.processed
    return {
        "values": Values(member.email, member.name, member.password_hash, member.signed_up_at) if member else "absent",
        "processed": Processed(processed.service, processed.role, processed.items) if processed else "absent",
        "marketing": p.marketing.model_dump() if p.marketing else None,
        "status": Status(member.status if member else processed.status if processed else None),
        "parts": p.suspended,
    }


def _stopped(stop: Stop) -> Writes:
    """A stop writes only what it takes away, for the roles it names."""
    marketing = stop.marketing.model_dump() if stop.marketing else None
    match stop.stop:
        case "sharing_revoked":
            return _emptied(stop, "absent")
        case "marketing_revoked":
            return {"marketing": marketing}
        case "withdrawn":
            return {"status": Status("withdrawn", stop.at), **_emptied(stop, "ended")}
        case "suspended" if stop.suspended:
            unmarketed = {"marketing": None} if MARKETING_PURPOSE in stop.suspended else {}
            return {"parts": stop.suspended, **unmarketed}
        case _:
            return {"status": Status(stop.stop)}


def _emptied(stop: Stop, how: Empty) -> Writes:
    recipient = {"values": how, "marketing": None} if "recipient" in stop.roles else {}
    processor = {"processed": how} if "processor" in stop.roles else {}
    return {**recipient, **processor}


def member_row(state: State) -> MemberRow | None:
    """Return the visible `member` row; None when there is none."""
    values, status = state.values.value, state.status.value
    if values == "absent":
        return None
    kept = values if isinstance(values, Values) else None
    parts = state.parts.value if kept else ()
    return MemberRow(
        member_ref=state.member_ref,
        seq=max(state.values.seq, state.status.seq, state.marketing.seq, state.parts.seq),
        email=kept.email if kept and "email" not in parts else None,
        name=kept.name if kept and "name" not in parts else None,
        password_hash=kept.password_hash if kept and "password_hash" not in parts else None,
        status=status.name,
        signed_up_at=kept.signed_up_at if kept else None,
        withdrawn_at=status.at,
        marketing=state.marketing.value if kept else None,
        suspended=parts or None,
    )


def processed_row(state: State) -> ProcessedRow | None:
    """Return the visible `processed_member` row; None when there is none."""
    held, status = state.processed.value, state.status.value.name
    if held == "absent":
        return None
    kept = held if isinstance(held, Processed) else None
    parts = state.parts.value if kept else ()
    return ProcessedRow(
        member_ref=state.member_ref,
        seq=max(state.processed.seq, state.status.seq, state.parts.seq),
        service=kept.service if kept else None,
        role=kept.role if kept else None,
        items=_in_sight(kept, parts) if kept else None,
        suspended=parts or None,
        status=None if status == "active" else status,
    )


def _in_sight(held: Processed, parts: tuple[str, ...]) -> dict[str, Any]:
    """Return the items that may be used: those suspended in part are named with their service, or the account's."""
    return {name: value for name, value in held.items.items() if not {name, f"{held.service}.{name}"} & {*parts}}

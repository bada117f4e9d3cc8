"""Pure: how a member's rows differ from what the ledger says, and why that may be. Names of columns, never values."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from services.propagator import model
from services.propagator.model import MemberRow, ProcessedRow, State
from services.propagator.reconcile.ledger import Holding

Why = Literal["not_applied", "row_deleted", "row_inserted", "row_changed", "gap", "ledger_behind"]
WHYS: tuple[Why, ...] = get_args(Why)
Rows = tuple[MemberRow | None, ProcessedRow | None]


@dataclass(frozen=True)
class Drift:
    """One member that differs. `rows`: by table the columns, `(row)` for a whole one; `why` is the likeliest cause.

    not_applied: a record was lost, or stopped on its way. row_deleted, row_inserted, row_changed: somebody wrote into
    the store beside the propagator. gap: the rows are right, but something that was sent never came. ledger_behind: the
    store has seen more than the ledger told; a restored ledger gives the same numbers out again, and they are dropped.
    """

    member_ref: str
    why: Why
    rows: dict[str, tuple[str, ...]]
    store_seq: int
    ledger_seq: int


def explain(holding: Holding, expected: State, actual: State, rows: Rows) -> Drift | None:
    """Return how the visible rows and gaps differ from the ledger's; None when they do not."""
    wanted: Rows = (model.member_row(expected), model.processed_row(expected))
    pairs = zip(("member", "processed_member"), wanted, rows, strict=True)
    found = {name: columns for name, want, have in pairs if (columns := _columns(want, have))}
    if not found and not actual.gaps:
        return None
    return Drift(holding.member_ref, _why(found, wanted, rows, holding, actual), found, actual.seq, holding.seq)


def _why(found: dict[str, tuple[str, ...]], wanted: Rows, rows: Rows, holding: Holding, actual: State) -> Why:
    if not found:
        return "gap"
    if actual.seq < holding.seq:
        return "not_applied"
    if any(want is not None and have is None for want, have in zip(wanted, rows, strict=True)):
        return "row_deleted"
    if any(want is None and have is not None for want, have in zip(wanted, rows, strict=True)):
        return "row_inserted"
    return "row_changed"


def _columns(want: MemberRow | ProcessedRow | None, have: MemberRow | ProcessedRow | None) -> tuple[str, ...]:
    if want is None or have is None:
        return () if want is have else ("(row)",)
    return tuple(name for name in want.__slots__ if getattr(want, name) != getattr(have, name))


def in_flight(holding: Holding, actual: State, now: datetime, grace: timedelta) -> bool:
    """Say whether a difference may be nothing but the way a change takes.

    The store is ahead of what was read of the ledger, or the change is younger than `grace`.
    """
    return actual.seq > holding.seq or any(owed.at > now - grace for owed in holding.owed)


def by_why(found: Iterable[Drift]) -> dict[str, int]:
    """Return how many members differ for each cause."""
    counted: dict[str, int] = {}
    for drift in found:
        counted[drift.why] = counted.get(drift.why, 0) + 1
    return counted

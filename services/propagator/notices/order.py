"""Pure: may a notice go before older ones of the same member and third party, and what becomes of those?

Receivers keep the highest `sequence` they applied and drop lower ones, so a newer notice must never go before an
older one whose items it does not carry: that correction would be lost for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

LOOK_AGAIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Older:
    """An older notice that was not delivered. `items` None = never opened here, `leased` = being sent now."""

    position: int
    items: frozenset[str] | None
    attempts: int
    due_at: datetime
    leased: bool


@dataclass(frozen=True, slots=True)
class Goes:
    """The newer notice is sent; it overtakes these, which have failed and whose items it carries."""

    overtaken: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Waits:
    """An older notice comes first; look again then."""

    until: datetime


def decide(items: frozenset[str], older: Sequence[Older], now: datetime) -> Goes | Waits:
    """Say what happens to a due notice about `items`, given every older undelivered one, in order of sequence."""
    first = [o for o in older if o.leased or o.attempts == 0 or o.items is None or not o.items <= items]
    if not first:
        return Goes(tuple(o.position for o in older))
    return Waits(max(now + LOOK_AGAIN, min(o.due_at for o in first)))

"""Pure: what each recipient may still hold (5.7), folded from the disclosure ledger and the answers to notices.

An answer speaks of all that was given up to it: `corrected` leaves the row's own value, `not_held` leaves nothing.
Without either (no answer yet, `refused`, `superseded`) the recipient may hold the old value or the new: both count.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.policy import ids

Key = tuple[str, str, str, str]
"""(kind, recipient, role, item)"""


@dataclass(frozen=True, slots=True)
class Given:
    """One ledger row: commitments by item. `told` adds the items it told to be empty now; `answer` came to it.

    A notice tells of an item whose value it may not carry in the same way: what is pulled later is a row of its own.
    """

    kind: str
    recipient: str
    role: str
    items: Mapping[str, str]
    told: frozenset[str]
    answer: str | None
    basis: str = ""


@dataclass(slots=True)
class _Held:
    """What may be held of one item: (row, commitment) of each value not ruled out, and the value told last.

    `bases`: why it was given it, until it says that it does not hold it.
    """

    live: list[tuple[int, str]] = field(default_factory=list)
    now: str | None = None
    bases: set[str] = field(default_factory=set)


def given(row: Mapping[str, Any]) -> Given:
    """Return a row of the ledger as the fold reads it; a disclosure tells what it gives."""
    items = row["items"]
    told = frozenset(items) | frozenset(row["told"] or ())
    return Given(row["kind"], row["recipient"], row["role"], items, told, row["answer"], row["basis"])


def holdings(rows: Iterable[Given]) -> dict[tuple[str, str], frozenset[str]]:
    """Return, by (third party, item), the commitments of all values it may hold; rows in order of the ledger."""
    folded = _folded(rows)
    return {
        (recipient, item): frozenset(value for _, value in held.live)
        for (kind, recipient, _, item), held in folded.items()
        if kind == "third_party" and held.live
    }


def bases(rows: Iterable[Given]) -> dict[tuple[str, str], frozenset[str]]:
    """Return, by (third party, item), the bases on which it was given what it may hold; a correction is none."""
    return {
        (recipient, item): frozenset(held.bases - {ids.NOTIFY})
        for (kind, recipient, _, item), held in _folded(rows).items()
        if kind == "third_party"
    }


def stale(rows: Sequence[Given]) -> list[tuple[str, ...]]:
    """Return, row by row, the items of which a value may still be held that is not the one told last."""
    found: list[list[str]] = [[] for _ in rows]
    for (*_, item), held in _folded(rows).items():
        for position, value in held.live:
            if value != held.now:
                found[position].append(item)
    return [tuple(sorted(items)) for items in found]


def _folded(rows: Iterable[Given]) -> dict[Key, _Held]:
    folded: dict[Key, _Held] = {}
    for position, row in enumerate(rows):
        for item in row.told:
            held = folded.setdefault((row.kind, row.recipient, row.role, item), _Held())
            held.now = row.items.get(item)
            if row.answer in {"corrected", "not_held"}:
                held.live.clear()
            if row.answer == "not_held":
                held.bases.clear()
            elif item in row.items:
                held.bases.add(row.basis)
            if row.answer != "not_held" and held.now is not None:
                held.live.append((position, held.now))
    return folded

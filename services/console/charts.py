"""Pure: where the lines and bars of the pictures stand. The templates draw them as SVG, with a table beside them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

ROW: Final = 64
WIDTH: Final = 760
BARS_WIDTH, BARS_HEIGHT, MARGIN = 760, 220, 40


@dataclass(frozen=True)
class Holder:
    """One recipient on the map: where its box is, in which roles and on which bases it was given which items."""

    name: str
    kind: str
    roles: tuple[str, ...]
    items: tuple[str, ...]
    since: str
    live: bool
    y: int

    @property
    def middle(self) -> int:
        """The height at which its line ends."""
        return self.y + ROW // 2 - 6


def holders(disclosures: Sequence[Mapping[str, Any]], live: Collection[str]) -> list[Holder]:
    """Return who was given what, one box per recipient: affiliates first, then third parties, each by name.

    An affiliate that is not in `live` was given it and holds it no more; what a third party did with it we don't know.
    """
    names = sorted({(d["kind"], d["recipient"]) for d in disclosures})
    found = []
    for position, (kind, name) in enumerate(names):
        rows = [d for d in disclosures if d["recipient"] == name]
        items = sorted({item for d in rows for item in d["items"]})
        roles = tuple(sorted({d["role"] for d in rows}))
        found.append(
            Holder(
                name,
                kind,
                roles,
                tuple(items),
                min(d["at"] for d in rows),
                kind != "affiliate" or name in live,
                position * ROW + 8,
            )
        )
    return found


def map_height(found: Sequence[Holder]) -> int:
    """Return the height of the map."""
    return max(1, len(found)) * ROW + 8


@dataclass(frozen=True)
class Bar:
    """One month's piece of a class: its place, size and number."""

    x: float
    y: float
    width: float
    height: float
    series: int
    count: int


@dataclass(frozen=True)
class Bars:
    """Stacked bars by month. `labels` are (x, text), `top` the largest month's number."""

    months: tuple[str, ...]
    classes: tuple[str, ...]
    counts: Mapping[tuple[str, str], int]
    bars: tuple[Bar, ...]
    labels: tuple[tuple[float, str], ...]
    top: int


def bars(counts: Mapping[tuple[str, str], int]) -> Bars:
    """Return the picture of numbers by (month `YYYY-MM`, class); months without any are shown empty."""
    months = _months(sorted({month for month, _ in counts}))
    classes = tuple(sorted({name for _, name in counts}))
    top = max((sum(counts.get((m, c), 0) for c in classes) for m in months), default=0)
    slot = (BARS_WIDTH - 2 * MARGIN) / max(1, len(months))
    drawn = [
        bar for position, month in enumerate(months) for bar in _stack(counts, classes, month, position, slot, top)
    ]
    every = max(1, len(months) // 12)
    labels = tuple((MARGIN + i * slot + slot / 2, m) for i, m in enumerate(months) if i % every == 0)
    return Bars(months, classes, counts, tuple(drawn), labels, top)


def _stack(
    counts: Mapping[tuple[str, str], int], classes: Sequence[str], month: str, position: int, slot: float, top: int
) -> list[Bar]:
    y = float(BARS_HEIGHT - MARGIN)
    made = []
    for series, name in enumerate(classes):
        count = counts.get((month, name), 0)
        if count:
            height = count / top * (BARS_HEIGHT - 2 * MARGIN)
            y -= height
            made.append(Bar(MARGIN + position * slot + slot * 0.1, y, slot * 0.8, height, series, count))
    return made


def _months(found: Sequence[str]) -> tuple[str, ...]:
    """Return every month from the first to the last."""
    if not found:
        return ()
    first, last = (date.fromisoformat(f"{month}-01") for month in (found[0], found[-1]))
    span = (last.year - first.year) * 12 + last.month - first.month
    numbers = [first.month - 1 + n for n in range(span + 1)]
    return tuple(f"{first.year + n // 12:04d}-{n % 12 + 1:02d}" for n in numbers)

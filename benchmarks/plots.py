"""Bars as SVG, by hand: a plot in the docs needs no plotting library, and the same figures are the same bytes."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

WIDTH: Final = 760
LABEL: Final = 270
RIGHT: Final = 110
ROW: Final = 26
TOP: Final = 44
BAR: Final = 16
COLOURS: Final = {"ours": "#2563eb", "other": "#94a3b8"}
STYLE: Final = "text{font:13px system-ui,sans-serif;fill:#1f2937}.t{font-weight:600}.g{fill:#6b7280}"


class Bar(NamedTuple):
    """One bar: what it is of, how much, how far the runs were apart (least, greatest), and whose it is."""

    label: str
    value: float
    least: float | None = None
    greatest: float | None = None
    colour: str = "ours"


def bars(title: str, unit: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """Return an SVG of horizontal bars in titled groups, all on one scale from zero; a thin line spans the runs."""
    shown = [bar for _, group in groups for bar in group]
    most = max(max(bar.value, bar.greatest or 0.0) for bar in shown) or 1.0
    scale = (WIDTH - LABEL - RIGHT) / most
    lines, y = [f'<text class="t" x="8" y="22">{escape(title)} <tspan class="g">({escape(unit)})</tspan></text>'], TOP
    for name, group in groups:
        if name:
            lines.append(f'<text class="g" x="8" y="{y + BAR}">{escape(name)}</text>')
            y += ROW
        for bar in group:
            lines += _bar(bar, y, scale)
            y += ROW
    size = f'width="{WIDTH}" height="{y + 8}" viewBox="0 0 {WIDTH} {y + 8}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">'
    ground = f'<rect width="{WIDTH}" height="{y + 8}" fill="#ffffff"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", ground, *lines, "</svg>"]) + "\n"


def _bar(bar: Bar, y: int, scale: float) -> list[str]:
    long, middle = bar.value * scale, y + BAR / 2
    furthest = LABEL + max(bar.value, bar.greatest or 0.0) * scale
    lines = [
        f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect x="{LABEL}" y="{y}" width="{long:.1f}" height="{BAR}" fill="{COLOURS[bar.colour]}"/>',
        f'<text x="{furthest + 6:.1f}" y="{y + 13}">{bar.value:,.4g}</text>'
        if bar.value < 1000
        else f'<text x="{furthest + 6:.1f}" y="{y + 13}">{bar.value:,.0f}</text>',
    ]
    if bar.least is not None and bar.greatest is not None:
        ends = f'x1="{LABEL + bar.least * scale:.1f}" x2="{LABEL + bar.greatest * scale:.1f}"'
        lines.append(f'<line {ends} y1="{middle}" y2="{middle}" stroke="#111827"/>')
    return lines

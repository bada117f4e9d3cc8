"""What the demo prints: at most 100 columns, readable without a terminal and without colour."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.devstack.proofs import Proven
from services.devstack.world import MEMBER_COLUMNS, PROCESSED_COLUMNS, Stores

WIDTH = 100
NOTHING = "–"


def console() -> Console:
    """Return a console on stdout that is never wider than 100 columns."""
    made = Console(highlight=False)
    width = min(made.width, WIDTH) if sys.stdout.isatty() else WIDTH
    return Console(highlight=False, width=width)


def heading(out: Console, text: str, told: str = "") -> None:
    """Print the heading of a step and what is about to happen."""
    out.print(f"\n[bold]{escape(text)}[/bold]")
    if told:
        out.print(escape(told), style="dim")


def stores(out: Console, title: str, found: Stores) -> None:
    """Print what every store holds of the member."""
    table = _table(title, "store", "column", "value")
    for affiliate, rows in found.items():
        cells = _cells(rows)
        for number, (column, value) in enumerate(cells.items()):
            table.add_row(affiliate if number == 0 else "", column, escape(value))
        if not cells:
            table.add_row(affiliate, "(no row)", NOTHING)
        table.add_section()
    out.print(table)


def difference(out: Console, before: Stores, after: Stores) -> None:
    """Print what a change did in every store, column by column."""
    table = _table("", "store", "column", "before", "after")
    for affiliate in after:
        old, new = _cells(before[affiliate]), _cells(after[affiliate])
        changed = [c for c in {**old, **new} if old.get(c) != new.get(c)]
        for number, column in enumerate(changed):
            was, now = (escape(cells.get(column, NOTHING)) for cells in (old, new))
            table.add_row(affiliate if number == 0 else "", column, was, f"[bold]{now}[/bold]")
        if not changed:
            table.add_row(affiliate, "(unchanged)", "", "")
        table.add_section()
    out.print(table)


def _cells(rows: dict[str, Any]) -> dict[str, str]:
    """Return the columns of both tables by name; those of the processor's table carry its name."""
    cells: dict[str, str] = {}
    if rows["member"]:
        cells |= {name: _value(rows["member"][name]) for name in MEMBER_COLUMNS}
    if rows["processed"]:
        cells |= {f"processed.{name}": _value(rows["processed"][name]) for name in PROCESSED_COLUMNS}
    return cells


def _value(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_value(v)}" for k, v in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def progress(out: Console, change: dict[str, Any]) -> None:
    """Print where a change is, with the milliseconds each answer took."""
    table = _table(f"change {change['change_id']} (seq {change['seq']})", "recipient", "kind", "stage", "after ms")
    for recipient in change["recipients"]:
        told = recipient["stage"] + (f" ({recipient['outcome']})" if "outcome" in recipient else "")
        table.add_row(recipient["id"], recipient["kind"], told, _after(change, recipient["at"]))
    table.add_row("audit log", "", f"sealed as entry {change['leaf_index']}", _after(change, change["sealed_at"]))
    out.print(table)


def _after(change: dict[str, Any], at: str) -> str:
    taken = datetime.fromisoformat(at) - datetime.fromisoformat(change["accepted_at"])
    return f"{taken.total_seconds() * 1000:,.0f}"


def sign_in(out: Console, accounts: dict[str, str], command: str) -> None:
    """Print how to sign in to the console: each password once, then an own one and an authenticator."""
    names = "   ".join(f"{name} [bold]{escape(password)}[/bold]" for name, password in accounts.items())
    out.print(f"Sign in, each password for the first time only: {names}", soft_wrap=True)
    out.print(f"Then set your own and scan the code (no telephone? {command} prints it from the key shown).")


def proofs(out: Console, proven: Sequence[Proven], names: dict[str, str]) -> None:
    """Print the proofs that were verified from their files."""
    table = _table("", "change", "entry", "of", "proof file", "verified")
    for one in proven:
        table.add_row(names[one.change_id], str(one.index), str(one.size), one.file.name, "yes, offline")
    out.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

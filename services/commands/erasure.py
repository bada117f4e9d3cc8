"""`dongui erasure`: is a member really gone? Searches everything this system keeps, and prints places, never values."""

import asyncio
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import typer

from services.commands import purge, scan_member, scan_places
from services.commands.context import (
    DRIFT,
    PARTIAL,
    USAGE,
    Format,
    fail,
    load_settings,
    print_json,
    print_table,
    tell,
    wants_json,
)
from services.commands.erasure_certificate import certificate, verify
from services.commands.purge import WAIT_S, Purged
from services.commands.scan_forms import Finder, TooShortError
from services.commands.scan_member import Left
from services.commands.scan_places import Report
from services.runtime.settings import Settings

app = typer.Typer(no_args_is_help=True)
app.command()(certificate)
app.command()(verify)


@app.command()
def scan(
    ref: Annotated[UUID | None, typer.Argument(help="A member's reference", metavar="[REF]")] = None,
    canaries: Annotated[Path | None, typer.Option("--canaries", help="Values to look for, one a line")] = None,
    metrics: Annotated[list[str] | None, typer.Option("--metrics", help="A further /metrics URL; repeatable")] = None,
    residue: Annotated[bool, typer.Option(help="Search PostgreSQL's WAL and table files too")] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Count what they hold for a bounded time as hits")] = False,
    output: Format = "text",
) -> None:
    """Search tables, topics, dead letters, files, logs and metrics. Exit 3 on a hit.

    REF: the key must be destroyed, every store must refuse the reference, and no row may hold a value; of a member who
    is still there, the places that hold its values are listed. FILE: values that were noted before the erasure.
    """
    as_json = wants_json(output)
    if (ref is None) == (canaries is None):
        fail("give either a reference or --canaries FILE", USAGE)
    settings = load_settings().require("owner_dsns")
    left = _run(scan_member.look(settings, str(ref))) if ref else None
    report = _searched(settings, _values(settings, ref, canaries), metrics or [], residue)
    if as_json:
        print_json((report.shown() if report else {}) | ({"member": left.shown()} if left else {}))
    else:
        _tell(report, left)
    found = bool(report and (report.hits or (strict and report.residue)))
    if found or (left and not left.erased):
        raise typer.Exit(DRIFT)


@app.command("purge")
def purge_residue(
    wait_s: Annotated[float, typer.Option("--wait", help="Seconds to wait for older transactions", min=0)] = WAIT_S,
) -> None:
    """Rewrite the tables and let PostgreSQL drop its old WAL; `scan --strict` says what is left (docs/keys.md).

    Locks each table for as long as its rewriting takes. Needs the superuser (DONGUI_ADMIN_DSN, or a dev system).
    Exit 4 when something keeps WAL from before; 1, with that database as it was, when a transaction stays open.
    """
    settings = load_settings().require("owner_dsns")
    try:
        done: Purged = _run(purge.purge(settings, wait_s))
    except purge.HeldError as held:
        fail(f"still open after {wait_s:.0f} s, so deleted rows could not go: {held}. End it and purge again")
    tell(f"{done.tables} tables rewritten")
    for why in done.wal_kept:
        tell(f"not gone: {why}")
    if done.wal_kept:
        raise typer.Exit(PARTIAL)
    tell("WAL dropped up to the present")


def _values(settings: Settings, ref: UUID | None, canaries: Path | None) -> list[str]:
    if canaries is None:
        found: list[str] = _run(scan_member.values_of(settings, str(ref)))
        return found
    try:
        lines = canaries.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        fail(f"cannot read {canaries}")
    values = [line for line in lines if line.strip()]
    if not values:
        fail(f"{canaries} holds no value to look for: note them before the erasure, one a line", USAGE)
    return values


def _searched(settings: Settings, values: list[str], metrics: list[str], residue: bool) -> Report | None:
    """Search for values; None when none are known (the member is erased)."""
    if not values:
        return None
    try:
        finder = Finder(values)
    except TooShortError:
        fail("a value is too short: it would be found by chance", USAGE)
    report: Report = _run(scan_places.search(settings, finder, metrics, residue=residue))
    return report


def _tell(report: Report | None, left: Left | None) -> None:
    if report:
        rows = [(place, hits, "") for place, hits in report.hits.items()]
        rows += [(place, hits, "for a bounded time") for place, hits in report.residue.items()]
        if rows:
            print_table(("PLACE", "HITS", ""), rows)
        for place in report.not_searched:
            tell(f"not searched: {place}")
        tell(f"{report.places} places searched, {sum(report.hits.values())} hits")
    if left:
        stores = ", ".join(name for name, knows in left.suppressed.items() if not knows) or "none"
        told = [("key", left.key), ("rows with values", str(sum(left.values.values()) or "none"))]
        print_table(("MEMBER", ""), [*told, ("stores that would take it back", stores)])


def _run(work: Any) -> Any:
    """Run one piece of work; its failures are told without a traceback and without a DSN."""
    try:
        return asyncio.run(work)
    except (OSError, asyncpg.PostgresError) as error:
        fail(f"a server does not answer or refuses ({type(error).__name__})")

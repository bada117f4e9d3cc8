"""`dongui retention simulate`: what will be destroyed on which day, by which rule and why, counted by class.

Both places are asked: records of members who are here, and those that have moved to the retention database.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated, Any

import typer

from services.commands.context import (
    USAGE,
    Api,
    Format,
    consent_api,
    load_settings,
    print_json,
    print_table,
    retention_api,
    tell,
    wants_json,
)
from services.policy.outlook import DAYS_MAX, outlook

PATHS = {"consent": "/v1/records/schedule", "retention": "/v1/retention/schedule"}


def simulate(
    as_of: Annotated[str, typer.Option("--as-of", metavar="YYYY-MM-DD", help="The day to start from (KST)")],
    until: Annotated[str, typer.Option("--until", metavar="YYYY-MM-DD", help="The last day to look at")],
    output: Format = "text",
) -> None:
    """List what the rules will destroy from a day until another, with rule and reason; change nothing."""
    as_json = wants_json(output)
    first, last = _days(as_of, until)
    found = outlook(_rows(last), first, last)
    if as_json:
        print_json(found)
        return
    names = ("destroyed_on", "class", "place", "held", "rule", "why", "record_id")
    print_table([n.upper() for n in names], [[record[name] for name in names] for record in found["records"]])
    tell("; ".join(f"{name}: {count}" for name, count in found["counts"].items()) or "nothing")


def _days(as_of: str, until: str) -> tuple[date, date]:
    try:
        first, last = date.fromisoformat(as_of), date.fromisoformat(until)
    except ValueError:
        first, last = date.max, date.min
    if not first <= last <= first + timedelta(DAYS_MAX):
        tell("give --as-of and --until as YYYY-MM-DD, in this order, ten years apart at most")
        raise typer.Exit(USAGE)
    return first, last


def _rows(last: date) -> list[dict[str, Any]]:
    settings = load_settings()
    with consent_api(settings) as consent, retention_api(settings) as vault:
        return [*_pages(consent, "consent", last), *_pages(vault, "retention", last)]


def _pages(api: Api, place: str, last: date) -> Iterable[dict[str, Any]]:
    cursor: str | None = ""
    while cursor is not None:
        page = api.get(PATHS[place], until=last.isoformat(), cursor=cursor)
        yield from ({"place": place, "held": False, **row} for row in page["records"])
        cursor = page["next"]

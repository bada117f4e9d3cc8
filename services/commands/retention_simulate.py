"""`dongui retention simulate`: what will be destroyed on which day, by which rule and why, counted by class.

Both places are asked: records of members who are here, and those that have moved to the retention database.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
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
from services.policy.retention import all_classes, why
from services.runtime.clock import KST

DAYS_MAX = 366 * 10
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


def outlook(rows: Iterable[dict[str, Any]], first: date, last: date) -> dict[str, Any]:
    """Return records in order of their day, counts by class, and a daily series by class for a plot.

    What is over before `first` goes on it; what a hold keeps is listed and not counted.
    """
    records = sorted((_planned(row, first) for row in rows), key=lambda r: (r["destroyed_on"], r["record_id"]))
    counted = [r for r in records if not r["held"]]
    days = sorted({r["destroyed_on"] for r in counted})
    per_day = Counter((r["class"], r["destroyed_on"]) for r in counted)
    classes = [c for c in all_classes() if any(r["class"] == c for r in counted)]
    return {
        "as_of": first.isoformat(),
        "until": last.isoformat(),
        "records": records,
        "counts": {c: sum(r["class"] == c for r in counted) for c in classes},
        "series": {"days": days, "by_class": {c: [per_day[c, day] for day in days] for c in classes}},
    }


def _planned(row: dict[str, Any], first: date) -> dict[str, Any]:
    destroy_on = date.fromisoformat(row["destroy_on"])
    occurred_at = datetime.fromisoformat(row["occurred_at"]).astimezone(KST)
    reason = why(row["class"], row["rule"], occurred_at, destroy_on)
    told = {"destroyed_on": max(destroy_on, first).isoformat(), "occurred_at": occurred_at.isoformat()}
    return {**row, **told, "statute": reason.statute, "why": reason.ko, "considered": reason.considered}

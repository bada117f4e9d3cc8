"""Pure: what the rules of keeping will destroy on which day, by which rule and why, counted by class for a plot."""

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Final

from services.policy.retention import all_classes, why
from services.runtime.clock import KST

DAYS_MAX: Final = 366 * 10


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
        "rules": _rules(counted),
        "held": len(records) - len(counted),
        "counts": {c: sum(r["class"] == c for r in counted) for c in classes},
        "series": {"days": days, "by_class": {c: [per_day[c, day] for day in days] for c in classes}},
    }


def _rules(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each rule that won, with its statute, the class it won for, and how many records go by it."""
    won = Counter((r["class"], r["rule"], r["statute"]) for r in records)
    return [{"class": c, "rule": rule, "statute": statute, "count": n} for (c, rule, statute), n in sorted(won.items())]


def _planned(row: dict[str, Any], first: date) -> dict[str, Any]:
    destroy_on = date.fromisoformat(row["destroy_on"])
    occurred_at = datetime.fromisoformat(row["occurred_at"]).astimezone(KST)
    reason = why(row["class"], row["rule"], occurred_at, destroy_on)
    told = {"destroyed_on": max(destroy_on, first).isoformat(), "occurred_at": occurred_at.isoformat()}
    return {**row, **told, "statute": reason.statute, "why": reason.ko, "considered": reason.considered}

"""What the law makes us keep and until when: the destructions to come, by month and class of record."""

from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

from fastapi import APIRouter, Response

from services.console import charts
from services.console.apis import RefusedError
from services.console.desk import Somebody, Visit
from services.console.model import READERS
from services.runtime.clock import KST

router = APIRouter()
YEARS: Final = (1, 3, 5)
SCHEDULES: Final = (("consent", "/v1/records/schedule"), ("retention", "/v1/retention/schedule"))


@router.get("/retention")
async def forecast(visit: Somebody, years: int = 5) -> Response:
    """Show the picture and its table: of the forecast, and for whom it is not, of what is scheduled."""
    visit.require(*READERS)
    chosen = years if years in YEARS else YEARS[-1]
    today = visit.desk.gate.clock().astimezone(KST).date()
    until = today + timedelta(days=366 * chosen)
    found = await _forecast(visit, today, until) or await _scheduled(visit, today, until)
    chart = charts.bars(found.pop("months"))
    return visit.page("retention.html", chart=chart, years=chosen, choices=YEARS, until=until, **found)


async def _forecast(visit: Visit, today: date, until: date) -> dict[str, Any] | None:
    days = {"as_of": today.isoformat(), "until": until.isoformat()}
    try:
        found = await visit.api.get("retention", "/v1/retention/forecast", **days)
    except RefusedError as error:
        if error.status not in {403, 404}:
            raise
        return None
    total = sum(found["counts"].values())
    return {"months": by_month(found["series"]), "total": total, "held": found["held"], "rules": found["rules"]}


def by_month(series: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """Return the numbers of a daily series by (month, class)."""
    counts: Counter[tuple[str, str]] = Counter()
    for name, numbers in series["by_class"].items():
        for day, count in zip(series["days"], numbers, strict=True):
            counts[str(day)[:7], name] += count
    return {key: count for key, count in counts.items() if count}


async def _scheduled(visit: Visit, today: date, until: date) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for service, path in SCHEDULES:
        rows += await visit.api.listed(service, path, "records", until=until.isoformat())  # type: ignore[arg-type]
    counts = Counter((max(str(r["destroy_on"]), today.isoformat())[:7], str(r["class"])) for r in rows)
    return {"months": counts, "total": len(rows), "held": None, "rules": []}

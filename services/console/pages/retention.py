"""What the law makes us keep and until when: the destructions to come, by month and class of record."""

from collections import Counter
from datetime import date, timedelta
from typing import Any, Final

from fastapi import APIRouter, Response

from services.console import charts
from services.console.desk import Somebody, Visit
from services.console.model import READERS
from services.runtime.clock import KST

router = APIRouter()
YEARS: Final = (1, 3, 5)


@router.get("/retention")
async def forecast(visit: Somebody, years: int = 5) -> Response:
    """Show the picture and its table; what is here and what is in the retention database are counted alike."""
    visit.require(*READERS)
    chosen = years if years in YEARS else YEARS[-1]
    today = visit.desk.gate.clock().astimezone(KST).date()
    until = today + timedelta(days=366 * chosen)
    here, apart = (
        await _schedule(visit, "consent", "/v1/records/schedule", until),
        await _schedule(visit, "retention", "/v1/retention/schedule", until),
    )
    counts = Counter((str(r["destroy_on"])[:7], str(r["class"])) for r in (*here, *apart))
    late = sum(1 for r in (*here, *apart) if date.fromisoformat(r["destroy_on"]) < today)
    return visit.page(
        "retention.html",
        chart=charts.bars(counts),
        years=chosen,
        choices=YEARS,
        kept=len(here),
        apart=len(apart),
        late=late,
        until=until,
    )


async def _schedule(visit: Visit, service: Any, path: str, until: date) -> list[dict[str, Any]]:
    return await visit.api.listed(service, path, "records", until=until.isoformat())

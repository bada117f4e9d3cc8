"""The route of the member import: many sign-ups of an existing member base, answered row by row."""

from typing import Any

from fastapi import APIRouter, Response

from services.consent import importer
from services.consent.access import Write, send
from services.consent.bodies import ImportBody

router = APIRouter(tags=["import"])


@router.post("/v1/members/import")
async def import_members(ask: Write, body: ImportBody, response: Response) -> dict[str, Any]:
    """Take in up to 200 rows in one transaction; the same rows again create nothing (docs/import.md)."""
    ask.require("service")
    key = ask.key(body.model_dump(mode="json"), required=True)
    return send(response, await importer.take_in(ask.consent, body.rows, ask.caller(), key))

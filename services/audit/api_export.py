"""Routes that take entries away: the whole log, or a selection with its proofs, as NDJSON or for a Korean Excel."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import asyncpg
import orjson
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from services.audit import search, sheet, store, tree
from services.audit.access import Exporting, Pool
from services.audit.api_entries import INDEX_MAX, encoded, filter_of, unsealed
from services.audit.checkpoint import ORIGIN
from services.audit.exports import EXPORT_VERSION, SELECTION
from services.audit.search import Filter
from services.audit.store import SQL, StoredCheckpoint
from services.runtime.clock import KST
from services.runtime.web import other_forms

BATCH = 500
PROOF_BATCH = 100
SHEET_TYPE = "text/csv; charset=utf-8"
LINES_TYPE = "application/x-ndjson"

router = APIRouter(tags=["audit"])


@router.get("/v1/audit/export", response_class=StreamingResponse, responses=other_forms(LINES_TYPE, "text/csv"))
async def export(
    exporting: Exporting,
    pool: Pool,
    wanted: Annotated[Filter, Depends(filter_of)],
    form: Annotated[str, Query(alias="format", pattern="^(ndjson|csv)$")] = "ndjson",
    until: Annotated[int, Query(ge=0, le=INDEX_MAX, description="The size of a checkpoint kept elsewhere")] = 0,
) -> StreamingResponse:
    """Return the log up to the latest checkpoint as NDJSON; with a filter, or as CSV, entries each with its proof.

    `dongui audit verify FILE` reads all of them offline.
    """
    latest, asked = await store.latest_checkpoint(pool), wanted.told()
    # A log whose checkpoints are gone is given out all the same: a verifier must see it.
    size = max(latest.size, until) if latest else await store.size(pool)
    if latest is None and (asked or form == "csv"):
        raise unsealed()
    await exporting.note("export", member_ref=wanted.member_ref, asked=asked, form=form, size=size)
    if latest is None or not (asked or form == "csv"):
        name, kind, lines = "audit-export.ndjson", LINES_TYPE, _log(pool, size)
    elif form == "csv":
        name, kind, lines = "audit.csv", SHEET_TYPE, _sheet(pool, wanted, latest)
    else:
        name, kind, lines = "audit.ndjson", LINES_TYPE, _selection(pool, wanted, latest)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(lines, media_type=kind, headers=headers)


async def _log(pool: asyncpg.Pool, size: int) -> AsyncIterator[bytes]:
    yield _line({"kind": "export", "version": EXPORT_VERSION, "origin": ORIGIN})
    seen = 0
    while rows := await pool.fetch(SQL["list_checkpoints"], seen, size, BATCH):
        yield b"".join(_line({"kind": "checkpoint", "size": r["size"], "note": r["note"]}) for r in rows)
        seen = rows[-1]["size"]
    after = -1
    while rows := await pool.fetch(SQL["list_bodies"], after, size, BATCH):
        yield b"".join(_line(_exported(row)) for row in rows)
        after = rows[-1]["index"]


def _exported(row: asyncpg.Record) -> dict[str, Any]:
    leaf = encoded(row["leaf_hash"])
    return {"kind": "entry", "index": row["index"], "leaf_hash": leaf, "body": _text(row)}


async def _selection(pool: asyncpg.Pool, wanted: Filter, latest: StoredCheckpoint) -> AsyncIterator[bytes]:
    note = await store.cosigned_note(pool, latest)
    yield _line({"kind": SELECTION, "version": EXPORT_VERSION, "checkpoint": note})
    async for row, path in _proved(pool, wanted, latest):
        told = {"kind": "entry", "index": row["index"], "body": _text(row), "path": [encoded(v) for v in path]}
        yield _line(told)


async def _sheet(pool: asyncpg.Pool, wanted: Filter, latest: StoredCheckpoint) -> AsyncIterator[bytes]:
    yield sheet.head().encode()
    async for row, path in _proved(pool, wanted, latest):
        at = row["at"].astimezone(KST).strftime("%Y-%m-%d %H:%M:%S")
        yield sheet.row({**dict(row), "at": at, "body": _text(row)}, path).encode()
    yield sheet.foot(await store.cosigned_note(pool, latest)).encode()


async def _proved(
    pool: asyncpg.Pool, wanted: Filter, latest: StoredCheckpoint
) -> AsyncIterator[tuple[asyncpg.Record, list[bytes]]]:
    """Yield the entries below the checkpoint with their inclusion paths; one query of subtrees for a batch."""
    async for rows in search.every(pool, wanted, latest.size, PROOF_BATCH):
        ranges = {row["index"]: tree.inclusion_ranges(row["index"], latest.size) for row in rows}
        wanted_nodes = sorted({node for found in ranges.values() for node in tree.needed(found)})
        nodes = await store.nodes(pool, wanted_nodes)
        for row in rows:
            yield row, tree.hashes_of(ranges[row["index"]], nodes.__getitem__)


def _text(row: asyncpg.Record) -> str:
    return bytes(row["body"]).decode(errors="replace")


def _line(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)

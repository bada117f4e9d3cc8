"""Routes of single entries and pages of them, their proofs and certificates; each look is noted (access.py)."""

import base64
from typing import Annotated, Any

import asyncpg
import orjson
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from schemas.base import Uuid
from schemas.receipts import Word
from services.audit import certificate, search, store, tree
from services.audit.access import Looking, Pool
from services.audit.proofs import Proof, format_proof
from services.audit.search import Filter, Page
from services.audit.store import SQL, StoredCheckpoint
from services.runtime.fields import Instant
from services.runtime.problem import Problem
from services.runtime.web import other_forms

LIMIT_MAX = 1000
ITEMS_MAX = 100
INDEX_MAX = 2**63 - 1
UUID_PATTERN = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
PROOF_TYPE = "text/plain; charset=utf-8"

router = APIRouter(tags=["audit"])

Reference = Annotated[str | None, Query(pattern=UUID_PATTERN)]
Plain = Annotated[str | None, Query(max_length=100, pattern="^[A-Za-z0-9][A-Za-z0-9_.@:-]*$")]


class Revealed(BaseModel):
    """POST /v1/audit/accesses: what was shown to whoever the token names."""

    model_config = ConfigDict(extra="forbid")
    action: Word
    member_ref: Uuid | None = None
    items: tuple[Word, ...] = Field(default=(), max_length=ITEMS_MAX)


async def filter_of(  # noqa: PLR0913, PLR0917 - one parameter of the query string each
    member_ref: Reference = None,
    change_id: Reference = None,
    type_: Annotated[Plain, Query(alias="type")] = None,
    kind: Plain = None,
    actor: Plain = None,
    affiliate: Annotated[Plain, Query(description="An affiliate or third party whose receipts or disclosures")] = None,
    stage: Plain = None,
    clause: Annotated[str | None, Query(pattern=r"^[0-9]{1,2}(\.[0-9]{1,2})?$")] = None,
    start: Annotated[Instant | None, Query(alias="from")] = None,
    end: Annotated[Instant | None, Query(alias="to")] = None,
) -> Filter:
    """FastAPI dependency: the filter. `from` is inclusive, `to` exclusive; both need a UTC offset."""
    return Filter(
        member_ref=member_ref,
        change_id=change_id,
        type=type_,
        kind=kind,
        actor=actor,
        recipient=affiliate,
        stage=stage,
        clause=clause,
        start=start,
        end=end,
    )


@router.get("/v1/audit/entries", response_model=None)
async def list_entries(
    looking: Looking,
    pool: Pool,
    wanted: Annotated[Filter, Depends(filter_of)],
    cursor: Annotated[int, Query(ge=-1, le=INDEX_MAX)] = -1,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 100,
    order: Annotated[str, Query(pattern="^(oldest|newest)$")] = "oldest",
) -> Response:
    """Return entries in order of index; pass `next` as `cursor` for those after, null at the end."""
    after = None if cursor < 0 else cursor
    rows = await search.entries(pool, wanted, Page(after, limit + 1, newest=order == "newest"))
    page = [shown(row) for row in rows[:limit]]
    following = str(page[-1]["index"]) if len(rows) > limit else None
    last = page[-1]["index"] if page else None
    asked = wanted.told() | {"order": order}
    await looking.note("query", member_ref=wanted.member_ref, asked=asked, after=after, last=last, entries=len(page))
    # Written by orjson at once: a page of bodies through the framework's own encoder takes longer than the query.
    return Response(orjson.dumps({"entries": page, "next": following}), media_type="application/json")


@router.get("/v1/audit/entries/{index}")
async def read_entry(looking: Looking, pool: Pool, index: int) -> dict[str, Any]:
    """Return one entry; 404 when the log is not that long."""
    row = await _row(pool, index)
    await looking.note("read", member_ref=row["member_ref"], index=index)
    return shown(row)


@router.get("/v1/audit/entries/{index}/proof", response_model=None, responses=other_forms("text/plain", "text/html"))
async def read_proof(
    looking: Looking,
    pool: Pool,
    index: int,
    form: Annotated[str, Query(alias="format", pattern="^(json|tlog-proof|html)$")] = "json",
    tree_size: Annotated[int | None, Query(ge=1, le=INDEX_MAX)] = None,
) -> Response | dict[str, Any]:
    """Return the inclusion proof of one entry; 409 until a checkpoint covers it.

    As JSON `body_base64` is the exact leaf: SHA-256(0x00 || body) is `leaf_hash`. `tlog-proof` is the C2SP file, `html`
    a Korean certificate that holds it and prints on A4. `tree_size` asks for the checkpoint of that size instead, so
    that several proofs can share one; 404 when there is none.
    """
    row = await _row(pool, index)
    proof, size = await _proof(pool, row, tree_size)
    await looking.note("proof", member_ref=row["member_ref"], index=index, form=form)
    if form == "json":
        return {
            "index": index,
            "leaf_hash": encoded(row["leaf_hash"]),
            "body": _body(row),
            "body_base64": encoded(row["body"]),
            "tree_size": size,
            "path": [encoded(value) for value in proof.path],
            "checkpoint": proof.note,
        }
    text = format_proof(index, proof.body, proof.path, proof.note)
    if form == "html":
        return HTMLResponse(certificate.page(text), headers=_download(f"{index}.html") | certificate.HEADERS)
    return PlainTextResponse(text, headers=_download(f"{index}.tlog-proof"), media_type=PROOF_TYPE)


@router.post("/v1/audit/accesses", status_code=201)
async def record_access(looking: Looking, shown_: Revealed) -> dict[str, str]:
    """Note what a screen showed to whoever the token names: a reveal, a print. It becomes an entry."""
    items = " ".join(shown_.items) or None
    await looking.note(shown_.action, member_ref=shown_.member_ref, items=items)
    return {"state": "noted"}


def shown(row: asyncpg.Record) -> dict[str, Any]:
    """Return an entry as JSON: its columns that are not empty, the clauses as a list, the body."""
    told = {name: row[name] for name in row.keys() if row[name] is not None}  # noqa: SIM118
    clauses = (row["clauses"] or "").split()
    return told | {"clauses": clauses, "leaf_hash": encoded(row["leaf_hash"]), "body": _body(row)}


def _body(row: asyncpg.Record) -> Any:
    """Return the body as JSON; null for what somebody put there that is none: the rest of the page is still shown."""
    try:
        return orjson.loads(row["body"])
    except orjson.JSONDecodeError:
        return None


async def _proof(pool: asyncpg.Pool, row: asyncpg.Record, tree_size: int | None) -> tuple[Proof, int]:
    over = await (store.checkpoint_over(pool, row["index"]) if tree_size is None else _of_size(pool, tree_size))
    if over is None or over.size <= row["index"]:
        raise unsealed()
    path = await store.proof(pool, tree.inclusion_ranges(row["index"], over.size))
    note = await store.cosigned_note(pool, over)
    return Proof(row["index"], bytes(row["body"]), tuple(path), note), over.size


async def _of_size(pool: asyncpg.Pool, size: int) -> StoredCheckpoint:
    found = await store.read_checkpoint(pool, size)
    if found is None:
        ko, en = "그 크기의 체크포인트가 없습니다.", "There is no checkpoint of this size."
        raise Problem(404, "checkpoint_unknown", ko, en)
    return found


async def _row(pool: asyncpg.Pool, index: int) -> asyncpg.Record:
    row = await pool.fetchrow(SQL["read_entry"], index) if 0 <= index <= INDEX_MAX else None
    if row is None:
        raise Problem(404, "entry_unknown", "그런 기록이 없습니다.", "There is no such entry.")
    return row


def unsealed() -> Problem:
    """The answer while no signed checkpoint covers what is asked for."""
    return Problem(
        409,
        "not_sealed_yet",
        "아직 서명된 체크포인트에 포함되지 않았습니다. 잠시 후 다시 시도해 주세요.",
        "No signed checkpoint covers this yet; ask again in a moment.",
        headers={"Retry-After": "1"},
    )


def encoded(value: bytes) -> str:
    """Return standard base64."""
    return base64.b64encode(value).decode()


def _download(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}

"""The audit service's HTTP application: entries, proofs, checkpoints, the whole log as an export.

Read only, for staff and services. Hashes are standard base64, as in C2SP files.
"""

import base64
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

import asyncpg
import orjson
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import AwareDatetime

from services.audit import store, sweep, tree
from services.audit.store import SQL, Filter, StoredCheckpoint
from services.audit.verify import EXPORT_VERSION, format_proof
from services.runtime import probes, problems
from services.runtime.auth import Authenticator, Principal
from services.runtime.bearer import principal_of
from services.runtime.clock import Clock
from services.runtime.probes import Ready
from services.runtime.problem import Problem

READERS = ("compliance", "cpo", "sre", "auditor", "service")
LIMIT_MAX = 1000
EXPORT_BATCH = 1000
INDEX_MAX = 2**63 - 1
UUID_PATTERN = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"

router = APIRouter(tags=["audit"])


async def reader(request: Request) -> Principal:
    """FastAPI dependency: who asks; 401 without a good token, 403 without a role that may read the log."""
    principal = await principal_of(request)
    if not principal.has(*READERS):
        raise Problem(
            403,
            "forbidden",
            "감사 기록을 볼 권한이 없습니다.",
            "Your role may not read the audit log.",
        )
    return principal


def pool_of(request: Request) -> asyncpg.Pool:
    """FastAPI dependency: the database."""
    pool: asyncpg.Pool = request.app.state.pool
    return pool


Reader = Annotated[Principal, Depends(reader)]
Pool = Annotated[asyncpg.Pool, Depends(pool_of)]
Reference = Annotated[str | None, Query(pattern=UUID_PATTERN)]
Word = Annotated[str | None, Query(max_length=100, pattern="^[a-z0-9][a-z0-9_.-]*$")]


def filter_of(
    member_ref: Reference = None,
    change_id: Reference = None,
    type_: Annotated[Word, Query(alias="type")] = None,
    actor: Word = None,
    start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
) -> Filter:
    """FastAPI dependency: the filter. `from` is inclusive, `to` exclusive; both need a UTC offset."""
    return Filter(member_ref=member_ref, type=type_, actor=actor, change_id=change_id, start=start, end=end)


@router.get("/v1/audit/entries")
async def list_entries(
    _: Reader,
    pool: Pool,
    wanted: Annotated[Filter, Depends(filter_of)],
    cursor: Annotated[int, Query(ge=-1, le=INDEX_MAX)] = -1,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = 100,
) -> dict[str, Any]:
    """Return entries in order of index; pass `next` as `cursor` for those after, null at the end."""
    rows = await store.entries(pool, wanted, cursor, limit + 1)
    page = [_entry(row) for row in rows[:limit]]
    following = str(page[-1]["index"]) if len(rows) > limit else None
    return {"entries": page, "next": following}


@router.get("/v1/audit/entries/{index}")
async def read_entry(_: Reader, pool: Pool, index: int) -> dict[str, Any]:
    """Return one entry; 404 when the log is not that long."""
    return _entry(await _row(pool, index))


@router.get("/v1/audit/entries/{index}/proof", response_model=None)
async def read_proof(_: Reader, pool: Pool, index: int, request: Request) -> Response | dict[str, Any]:
    """Return the inclusion proof of one entry to the latest checkpoint; 409 until one covers it.

    `body_base64` is the exact leaf: SHA-256(0x00 || body) is `leaf_hash`. `Accept: text/plain` gives the proof as a
    C2SP tlog-proof file, which `dongui audit verify` reads offline.
    """
    row = await _row(pool, index)
    latest = await _latest(pool)
    if latest.size <= index:
        raise _unsealed()
    path = await store.proof(pool, tree.inclusion_ranges(index, latest.size))
    if request.headers.get("accept", "").startswith("text/plain"):
        return PlainTextResponse(format_proof(index, bytes(row["body"]), path, latest.note))
    return {
        "index": index,
        "leaf_hash": _base64(row["leaf_hash"]),
        "body": orjson.loads(row["body"]),
        "body_base64": _base64(row["body"]),
        "tree_size": latest.size,
        "path": [_base64(value) for value in path],
        "checkpoint": latest.note,
    }


@router.get("/v1/audit/checkpoint", response_model=None)
async def read_checkpoint(_: Reader, pool: Pool, request: Request) -> Response | dict[str, Any]:
    """Return the latest checkpoint: JSON, or the signed note itself for `Accept: text/plain`."""
    latest = await _latest(pool)
    if request.headers.get("accept", "").startswith("text/plain"):
        return PlainTextResponse(latest.note)
    return {
        "size": latest.size,
        "root": _base64(latest.root),
        "at": latest.at,
        "note": latest.note,
        "vkey": request.app.state.vkey,
    }


@router.get("/v1/audit/consistency")
async def read_consistency(
    _: Reader,
    pool: Pool,
    start: Annotated[int, Query(alias="from", ge=1, le=INDEX_MAX)],
    end: Annotated[int, Query(alias="to", ge=1, le=INDEX_MAX)],
) -> dict[str, Any]:
    """Return the proof that the tree of `from` leaves is a prefix of that of `to` leaves."""
    latest = await _latest(pool)
    if not start <= end <= latest.size:
        raise Problem(
            422,
            "invalid_range",
            "from은 to 이하, to는 최근 체크포인트의 크기 이하여야 합니다.",
            "Give from <= to <= the size of the latest checkpoint.",
        )
    path = await store.proof(pool, tree.consistency_ranges(start, end))
    return {"from": start, "to": end, "path": [_base64(value) for value in path]}


@router.get("/v1/audit/overdue")
async def list_overdue(_: Reader, pool: Pool, request: Request) -> dict[str, Any]:
    """Return the answers that are owed past their deadline, the longest overdue first."""
    clock: Clock = request.app.state.clock
    found = await sweep.overdue(pool, clock())
    return {"overdue": [asdict(one) for one in found]}


@router.get("/v1/audit/export", response_model=None)
async def export(_: Reader, pool: Pool) -> StreamingResponse:
    """Return the log up to the latest checkpoint as NDJSON: what `audit verify` reads offline."""
    latest = await _latest(pool)
    return StreamingResponse(_lines(pool, latest), media_type="application/x-ndjson")


async def _lines(pool: asyncpg.Pool, latest: StoredCheckpoint) -> AsyncIterator[bytes]:
    origin = latest.note.partition("\n")[0]
    yield _line({"kind": "export", "version": EXPORT_VERSION, "origin": origin})
    seen = 0
    while rows := await pool.fetch(SQL["list_checkpoints"], seen, latest.size, EXPORT_BATCH):
        yield b"".join(_line({"kind": "checkpoint", "size": r["size"], "note": r["note"]}) for r in rows)
        seen = rows[-1]["size"]
    after = -1
    while rows := await pool.fetch(SQL["list_bodies"], after, latest.size, EXPORT_BATCH):
        yield b"".join(_line(_exported(row)) for row in rows)
        after = rows[-1]["index"]


def _exported(row: asyncpg.Record) -> dict[str, Any]:
    body = bytes(row["body"]).decode(errors="replace")
    leaf = _base64(row["leaf_hash"])
    return {"kind": "entry", "index": row["index"], "leaf_hash": leaf, "body": body}


def _line(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def _entry(row: asyncpg.Record) -> dict[str, Any]:
    shown = {name: row[name] for name in row.keys() if row[name] is not None}  # noqa: SIM118
    return shown | {"leaf_hash": _base64(row["leaf_hash"]), "body": orjson.loads(row["body"])}


async def _row(pool: asyncpg.Pool, index: int) -> asyncpg.Record:
    row = await pool.fetchrow(SQL["read_entry"], index) if 0 <= index <= INDEX_MAX else None
    if row is None:
        raise Problem(404, "entry_unknown", "그런 기록이 없습니다.", "There is no such entry.")
    return row


async def _latest(pool: asyncpg.Pool) -> StoredCheckpoint:
    latest = await store.latest_checkpoint(pool)
    if latest is None:
        raise _unsealed()
    return latest


def _unsealed() -> Problem:
    return Problem(
        409,
        "not_sealed_yet",
        "아직 서명된 체크포인트에 포함되지 않았습니다. 잠시 후 다시 시도해 주세요.",
        "No signed checkpoint covers this yet; ask again in a moment.",
        headers={"Retry-After": "1"},
    )


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def create(pool: asyncpg.Pool, authenticator: Authenticator, *, vkey: str, clock: Clock, ready: Ready) -> FastAPI:
    """Return the application. `ready` says which dependency answers."""
    app = FastAPI(
        title="Dongui audit service",
        version="1",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        summary="An append-only log of what happened and what was done about it, with proofs.",
    )
    app.state.pool = pool
    app.state.authenticator = authenticator
    app.state.vkey = vkey
    app.state.clock = clock
    problems.install(app)
    app.include_router(router)
    probes.install(app, ready)
    return app

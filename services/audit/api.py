"""The audit service's HTTP application: entries, proofs, exports, checkpoints, what the last verification found.

For staff, auditors and services. Hashes are standard base64, as in C2SP files. Each look at entries is itself noted.
"""

from dataclasses import asdict
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from services.audit import api_entries, api_export, store, sweep, tree
from services.audit.access import Pool, Reader
from services.audit.api_entries import INDEX_MAX, encoded, unsealed
from services.audit.store import SQL, StoredCheckpoint
from services.runtime.auth import Authenticator
from services.runtime.clock import Clock
from services.runtime.probes import Ready
from services.runtime.problem import Problem
from services.runtime.rates import Rates
from services.runtime.web import Api, other_forms

router = APIRouter(tags=["audit"])


@router.get("/v1/audit/checkpoint", response_model=None, responses=other_forms("text/plain"))
async def read_checkpoint(_: Reader, pool: Pool, request: Request) -> Response | dict[str, Any]:
    """Return the latest checkpoint and where which one is kept; for `Accept: text/plain` the signed note itself."""
    latest = await _latest(pool)
    note = await store.cosigned_note(pool, latest)
    if request.headers.get("accept", "").startswith("text/plain"):
        return PlainTextResponse(note)
    return {
        "size": latest.size,
        "root": encoded(latest.root),
        "at": latest.at,
        "note": note,
        "vkey": request.app.state.vkey,
        "places": [dict(row) for row in await pool.fetch(SQL["list_anchored"])],
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
    return {"from": start, "to": end, "path": [encoded(value) for value in path]}


@router.get("/v1/audit/verification")
async def read_verification(_: Reader, pool: Pool) -> dict[str, Any]:
    """Return what the last verification of the whole log found; `ok` null before the first."""
    row = await pool.fetchrow(SQL["last_verification"])
    return dict(row) if row else {"ok": None}


@router.get("/v1/audit/overdue")
async def list_overdue(_: Reader, pool: Pool, request: Request) -> dict[str, Any]:
    """Return the answers that are owed past their deadline, the longest overdue first."""
    clock: Clock = request.app.state.clock
    found = await sweep.overdue(pool, clock())
    return {"overdue": [asdict(one) for one in found]}


async def _latest(pool: asyncpg.Pool) -> StoredCheckpoint:
    latest = await store.latest_checkpoint(pool)
    if latest is None:
        raise unsealed()
    return latest


def create(
    pool: asyncpg.Pool,
    authenticator: Authenticator,
    rates: Rates,
    *,
    vkey: str,
    clock: Clock,
    ready: Ready,
    reason_required: bool = False,
) -> Api:
    """Return the application. `ready` says which dependency answers."""
    app = Api(
        title="Dongui audit service",
        summary="An append-only log of what happened and what was done about it, with proofs.",
        authenticator=authenticator,
        rates=rates,
        ready=ready,
    )
    app.state.pool = pool
    app.state.vkey = vkey
    app.state.clock = clock
    app.state.reason_required = reason_required
    for part in (api_entries.router, api_export.router, router):
        app.include_router(part)
    return app

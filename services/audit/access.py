"""Who looked at the log: every query, proof, export and reveal is noted before its answer goes out, with the reason.

The fields are those of the safeguards notice (2-3, 8): who, when, from where, whose data, what was done. The log is
append-only, so the filter and the last index name exactly the entries that were seen. The writer makes each row a leaf.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, Header, Query, Request

from schemas.receipts import CODED_VALUE
from services.audit.store import SQL
from services.runtime.auth import Principal
from services.runtime.bearer import principal_of
from services.runtime.clock import Clock
from services.runtime.problem import Problem

READERS = ("compliance", "cpo", "sre", "service", "auditor")
CODED: dict[str, Any] = {"pattern": f"^({CODED_VALUE.pattern})$"}
EXPORTERS = ("compliance", "cpo", "service", "auditor")


@dataclass(frozen=True)
class Access:
    """One caller with a reason, who may look; `note` writes down what was looked at."""

    pool: asyncpg.Pool
    principal: Principal
    address: str
    reason: str | None
    clock: Clock

    async def note(self, action: str, *, member_ref: str | None = None, **told: Any) -> None:
        """Write the access down; the caller answers only after that. `told` is what was asked for, coded."""
        kept = {name: value for name, value in told.items() if value is not None}
        await self.pool.execute(
            SQL["insert_access"],
            self.clock(),
            self.principal.sub,
            " ".join(sorted(self.principal.roles)),
            self.address,
            action,
            self.reason,
            member_ref,
            kept,
        )


async def reader(principal: Annotated[Principal, Depends(principal_of)]) -> Principal:
    """FastAPI dependency: who asks; 401 without a good token, 403 without a role that may read the log."""
    if not principal.has(*READERS):
        raise Problem(
            403,
            "forbidden",
            "감사 기록을 볼 권한이 없습니다.",
            "Your role may not read the audit log.",
        )
    return principal


async def access_of(
    request: Request,
    principal: Annotated[Principal, Depends(reader)],
    header: Annotated[
        str | None,
        Header(alias="X-Reason", description="A code or a file number; nobody's name", json_schema_extra=CODED),
    ] = None,
    reason: Annotated[
        str | None, Query(description="The same, where a header cannot be sent", json_schema_extra=CODED)
    ] = None,
) -> Access:
    """FastAPI dependency: a reader with a reason. 422 when it is not coded, 400 when it is required and absent."""
    given = reason if header is None else header
    if any(one is not None and CODED_VALUE.fullmatch(one) is None for one in (header, reason)):
        raise Problem(
            422,
            "invalid_reason",
            "열람 사유(X-Reason)는 영문·숫자 코드나 문서 번호여야 합니다. 이름을 쓰지 마세요.",
            "X-Reason must be a code or a file number: letters, digits and _.:/+- (100 at most), and nobody's name.",
        )
    if given is None and request.app.state.reason_required:
        raise Problem(
            400,
            "reason_missing",
            "열람 사유를 X-Reason 헤더에 적어 주세요.",
            "Say why in the header X-Reason.",
        )
    address = request.client.host if request.client else "unknown"
    return Access(request.app.state.pool, principal, address, given, request.app.state.clock)


async def exporter_of(access: Annotated[Access, Depends(access_of)]) -> Access:
    """FastAPI dependency: who may take entries away; 403 for the others."""
    if not access.principal.has(*EXPORTERS):
        ko, en = "감사 기록을 내보낼 권한이 없습니다.", "Your role may not export the audit log."
        raise Problem(403, "forbidden", ko, en)
    return access


async def pool_of(request: Request) -> asyncpg.Pool:
    """FastAPI dependency: the database."""
    pool: asyncpg.Pool = request.app.state.pool
    return pool


Reader = Annotated[Principal, Depends(reader)]
Looking = Annotated[Access, Depends(access_of)]
Exporting = Annotated[Access, Depends(exporter_of)]
Pool = Annotated[asyncpg.Pool, Depends(pool_of)]

"""What proves how a request was handled: its register entries in the audit log, and the documents that came with it."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from uuid_utils import uuid7

from schemas.receipts import CODED_VALUE
from services.consent import idempotency, register, sealing
from services.consent.handlers import Consent
from services.consent.idempotency import Answer, Key
from services.consent.rights import refusals, store
from services.consent.rights.access import Who
from services.consent.rights.model import OPEN, Request
from services.consent.store import SQL
from services.runtime.postgres import Connection
from services.runtime.problem import Problem

KIND = "rights_request"
BYTES_MAX = 200_000
FILES_MAX = 20
MEDIA_TYPES = frozenset(
    {"application/pdf", "image/jpeg", "image/png", "image/tiff", "text/plain", "message/rfc822", "audio/mpeg"}
)
DOCUMENTS = frozenset({"form-8", "form-11", "guardianship-certificate", "family-certificate", "identity", "proof"})


async def record(tx: Connection, request: Request, state: str, who: Who, at: datetime, **codes: str | None) -> None:
    """Hand one step to the audit log: codes only, and who did it where that is an id."""
    told = {"type": request.type, "channel": request.channel, "by": None if who.member else who.sub, **codes}
    coded = {name: value for name, value in told.items() if value is not None and CODED_VALUE.fullmatch(value)}
    await register.append(tx, KIND, request.id, state, at, actor=who.kind, member_ref=request.member_ref, codes=coded)


async def attach(
    consent: Consent, request_id: str, kind: str, media_type: str, content: bytes, who: Who, key: Key | None
) -> Answer:
    """Keep a document with an open request, sealed under the member's data key; the same bytes again are kept once."""
    _check(kind, media_type, content)
    at = consent.clock()
    digest = hashlib.sha256(content).hexdigest()
    async with consent.pool.acquire() as connection, connection.transaction():
        if stored := await idempotency.recall(connection, key):
            return stored
        request, row = await store.lock(connection, request_id)
        who.check(row)
        if request.state not in OPEN:
            raise refusals.wrong_state(request.state)
        known = await connection.fetchrow(SQL["rights_find_evidence"], request.id, digest)
        told = dict(known) if known else None
        if told is None:
            told = {"id": str(uuid7()), "sha256": digest, "kind": kind, "media_type": media_type, "size": len(content)}
            await _keep(consent, connection, request, told, content, who, at)
        answer = Answer(201, told)
        await idempotency.remember(connection, key, answer)
    consent.nudge()
    return answer


async def _keep(
    consent: Consent, tx: Connection, request: Request, told: Mapping[str, Any], content: bytes, who: Who, at: datetime
) -> None:
    if await tx.fetchval(SQL["rights_count_evidence"], request.id) >= FILES_MAX:
        raise too_many()
    data_key = await store.data_key(consent.keyring, request.member_ref)
    sealed = sealing.seal(data_key, request.member_ref, f"{request.id}/{told['sha256']}", content)
    named = (told["id"], request.id, told["kind"], told["media_type"], told["size"], told["sha256"])
    await tx.execute(SQL["rights_insert_evidence"], *named, sealed, who.sub, at)
    await record(tx, request, "evidence_added", who, at, document=told["kind"], sha256=told["sha256"])


async def listed(consent: Consent, request_id: str, who: Who) -> dict[str, Any]:
    """Return what documents there are, without their content."""
    _, row = await store.read(consent.pool, request_id)
    who.check(row)
    return {"evidence": [dict(r) for r in await consent.pool.fetch(SQL["rights_list_evidence"], request_id)]}


async def content(consent: Consent, request_id: str, evidence_id: str, who: Who) -> tuple[str, bytes]:
    """Return a document's media type and bytes; that it was read is recorded."""
    async with consent.pool.acquire() as connection, connection.transaction():
        request, row = await store.read(connection, request_id)
        who.check(row)
        found = await connection.fetchrow(SQL["rights_read_evidence"], request_id, evidence_id)
        if found is None:
            raise refusals.unknown_request()
        data_key = await store.data_key(consent.keyring, request.member_ref)
        label = f"{request.id}/{found['sha256']}"
        plain = sealing.unseal(data_key, request.member_ref, label, found["sealed"])
        await record(connection, request, "evidence_read", who, consent.clock(), sha256=found["sha256"])
    consent.nudge()
    return found["media_type"], plain


def too_many() -> Problem:
    """The refusal of one document more than a request may have."""
    return Problem(409, "too_much_evidence", "첨부는 20개까지입니다.", "A request takes up to 20 documents.")


def _check(kind: str, media_type: str, content: bytes) -> None:
    if kind not in DOCUMENTS:
        raise refusals.unknown_code("document_unknown", "/kind", sorted(DOCUMENTS))
    if media_type not in MEDIA_TYPES:
        raise refusals.unknown_code("media_type_unknown", "/content-type", sorted(MEDIA_TYPES))
    if not content:
        raise Problem(422, "evidence_empty", "첨부 내용이 없습니다.", "The document is empty.")
    if len(content) > BYTES_MAX:
        raise Problem(413, "evidence_too_large", "첨부는 200 kB 이하여야 합니다.", "A document has at most 200 kB.")

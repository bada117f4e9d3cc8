"""Idempotency-Key: the answer is stored in the transaction of the write, so a lost answer can be asked for again.

Scope: caller and key, 24 hours. The body is remembered as an HMAC, never in clear. Only successes are stored.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson

from services.consent.store import SQL
from services.runtime.postgres import Connection
from services.runtime.problem import Problem


@dataclass(frozen=True)
class Answer:
    """A success: HTTP status, body, entity tag (None = none)."""

    status: int
    body: dict[str, Any]
    etag: str | None = None


@dataclass(frozen=True)
class Key:
    """Who sent which key for which request (MAC of method, path and body)."""

    caller: str
    value: str
    request_mac: bytes


def mac(secret: bytes, method: str, path: str, body: Any) -> bytes:
    """Return the keyed fingerprint of a request."""
    canonical = orjson.dumps([method, path, body], option=orjson.OPT_SORT_KEYS)
    return hmac.new(secret, canonical, hashlib.sha256).digest()


async def recall(tx: Connection, key: Key | None) -> Answer | None:
    """Return the stored answer, or None when this is the first time.

    Raises Problem 409 while the first request is still running, 422 when the key was used for another request.
    """
    if key is None:
        return None
    row = await tx.fetchrow(SQL["idempotent_recall"], key.caller, key.value)
    assert row is not None  # a function that returns one row
    if row["in_flight"]:
        raise Problem(
            409,
            "request_in_flight",
            "같은 Idempotency-Key의 요청을 처리하고 있습니다. 잠시 후 다시 보내 주세요.",
            "A request with this Idempotency-Key is in progress. Send it again in a moment.",
        )
    return _answer(row, key) if row["status"] is not None else None


async def stored(pool: asyncpg.Pool, key: Key) -> Answer | None:
    """Return the stored answer without waiting for a request in flight. Raises Problem 422 for another request."""
    row = await pool.fetchrow(SQL["idempotent_read"], key.caller, key.value)
    return _answer(row, key) if row else None


def _answer(row: asyncpg.Record, key: Key) -> Answer:
    if not hmac.compare_digest(row["request_mac"], key.request_mac):
        raise Problem(
            422,
            "idempotency_key_reused",
            "이 Idempotency-Key는 다른 요청에 쓰였습니다. 새 키를 사용해 주세요.",
            "This Idempotency-Key was used for another request. Use a new key.",
        )
    return Answer(row["status"], row["body"], row["etag"])


async def remember(tx: Connection, key: Key | None, answer: Answer) -> None:
    """Store the answer of a first request."""
    if key is not None:
        await tx.execute(
            SQL["idempotent_write"],
            key.caller,
            key.value,
            key.request_mac,
            answer.status,
            answer.etag,
            answer.body,
        )

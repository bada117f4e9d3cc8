"""Rights requests in the consent database: rows read as the model's state and written back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import asyncpg

from services.consent import store
from services.consent.model import Member
from services.consent.refusals import not_found
from services.consent.rights import refusals
from services.consent.rights.model import Agent, Request
from services.consent.store import SQL
from services.keyring.keyring import KeyDestroyedError, Keyring, KeyUnknownError
from services.runtime.postgres import Connection

PAGE = 100


@dataclass(frozen=True)
class Intake:
    """What a row holds beside the model's state when it is new."""

    received_by: str | None
    created_by: str
    created_at: datetime
    due_on: date
    changes_sealed: bytes | None
    agent_name_sealed: bytes | None


@dataclass(frozen=True)
class Hands:
    """Who did a step, and how: what the row remembers of it."""

    verified_by: str | None = None
    method: str | None = None
    agent_method: str | None = None
    decided_by: str | None = None
    told_by: str | None = None


async def insert(tx: Connection, request: Request, intake: Intake) -> bool:
    """Write a new request; False when one of this type is open for this member."""
    agent = request.agent
    done = await tx.execute(
        SQL["rights_insert"],
        request.id,
        request.member_ref,
        request.type,
        request.channel,
        request.state,
        request.received_at,
        intake.received_by,
        intake.created_by,
        intake.created_at,
        intake.due_on,
        _sorted(request.items),
        intake.changes_sealed,
        agent.kind if agent else None,
        agent.document if agent else None,
        list(agent.scope) if agent else None,
        intake.agent_name_sealed,
    )
    return str(done) == "INSERT 0 1"


async def lock(tx: Connection, request_id: str) -> tuple[Request, asyncpg.Record]:
    """Return a request and its row, locked until the transaction ends; Problem 404."""
    return _found(await tx.fetchrow(SQL["rights_lock"], request_id))


async def read(connection: Connection | asyncpg.Pool, request_id: str) -> tuple[Request, asyncpg.Record]:
    """Return a request and its row; Problem 404."""
    return _found(await connection.fetchrow(SQL["rights_read"], request_id))


async def write(tx: Connection, request: Request, hands: Hands, change_ids: Sequence[str]) -> None:
    """Write what a step made of a request, and which changes of the member it brought."""
    await tx.execute(
        SQL["rights_update"],
        request.id,
        request.state,
        request.verified_at,
        request.deferral,
        request.deferred_at,
        request.reason_ended_at,
        request.outcome,
        request.ground,
        request.statute,
        _sorted(request.granted),
        request.decided_at,
        request.suspends,
        request.ended_at,
        list(change_ids),
        hands.verified_by,
        hands.method,
        hands.agent_method,
        hands.decided_by,
        hands.told_by,
    )


async def data_key(keyring: Keyring, member_ref: str) -> bytes:
    """Return the member's data key; Problem 410 once it is shredded, and with it all that was sealed."""
    try:
        return await keyring.data_key(member_ref)
    except (KeyDestroyedError, KeyUnknownError) as error:
        raise refusals.destroyed() from error


async def member(connection: Connection, member_ref: str) -> Member:
    """Return the member a request is about; Problem 404."""
    found = await store.read(connection, member_ref)
    if found is None:
        raise not_found()
    return found[0].member


async def locked_member(tx: Connection, member_ref: str) -> Member:
    """Return the member with its row locked, so that what is decided on it is still true at the commit."""
    await tx.execute(SQL["rights_lock_member"], member_ref)
    return await member(tx, member_ref)


async def other_parts(tx: Connection, request: Request) -> frozenset[str]:
    """Return the items and purposes that other requests of the member keep suspended in part."""
    rows = await tx.fetch(SQL["rights_other_parts"], request.member_ref, request.id)
    return frozenset(name for row in rows for name in row["parts"])


def request_of(row: asyncpg.Record) -> Request:
    """Return the model's state of a row."""
    agent = Agent(row["agent_kind"], row["agent_document"], tuple(row["agent_scope"])) if row["agent_kind"] else None
    return Request(
        id=row["request_id"],
        member_ref=row["member_ref"],
        type=row["type"],
        channel=row["channel"],
        received_at=row["received_at"],
        state=row["state"],
        items=_set(row["items"]),
        agent=agent,
        verified_at=row["verified_at"],
        deferral=row["deferral"],
        deferred_at=row["deferred_at"],
        reason_ended_at=row["reason_ended_at"],
        outcome=row["outcome"],
        ground=row["ground"],
        statute=row["statute"],
        granted=_set(row["granted_items"]),
        decided_at=row["decided_at"],
        suspends=row["suspends"],
        ended_at=row["ended_at"],
    )


def _found(row: asyncpg.Record | None) -> tuple[Request, asyncpg.Record]:
    if row is None:
        raise refusals.unknown_request()
    return request_of(row), row


def _set(found: Any) -> frozenset[str] | None:
    return None if found is None else frozenset(found)


def _sorted(found: frozenset[str] | None) -> list[str] | None:
    return None if found is None else sorted(found)

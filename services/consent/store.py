"""The consent database: a member read as the model's state, a change written. The transaction is an argument."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import asyncpg
from uuid_utils import uuid7

from schemas.base import Marketing
from schemas.receipts import DisclosureRecord
from services.consent import ledger
from services.consent.model import ConsentRef, HeldState, Member, Profile, Step
from services.consent.records import Bases, Context, Holdings, LedgerRow, Outgoing
from services.runtime import outbox
from services.runtime.postgres import Connection
from services.runtime.queries import Queries

SQL = Queries("services.consent")


@dataclass(frozen=True)
class Loaded:
    """A member with what third parties hold and why they were given it, and when it last changed."""

    member: Member
    third_parties: Holdings
    last_at: datetime | None = None
    bases: Bases = field(default_factory=dict)


async def lock(tx: Connection, member_ref: str) -> Loaded | None:
    """Take the member's row lock and its next seq FIRST: so seq is gapless and equals commit order."""
    row = await tx.fetchrow(SQL["lock_member"], member_ref)
    return _loaded(row, await _parts(tx, member_ref)) if row else None


async def read(connection: Connection, member_ref: str) -> tuple[Loaded, list[dict[str, Any]]] | None:
    """Return a member and its live consents with evidence, or None."""
    row = await connection.fetchrow(SQL["read_member"], member_ref)
    if row is None:
        return None
    parts = await _parts(connection, member_ref)
    return _loaded(row, parts), parts["consents"]


async def snapshot(pool: asyncpg.Pool, member_ref: str) -> tuple[Loaded, list[dict[str, Any]]] | None:
    """Return what `read` does, all of one instant: the version shown is the version of what is shown."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        return await read(connection, member_ref)


async def _parts(tx: Connection, member_ref: str) -> asyncpg.Record:
    """A statement of its own: after the lock, so that it sees what the lock's last holder committed."""
    parts = await tx.fetchrow(SQL["read_parts"], member_ref)
    assert parts is not None  # an aggregate always has its one row
    return parts


def _loaded(row: asyncpg.Record, parts: asyncpg.Record) -> Loaded:
    profiles = {p["service"]: Profile(p["service"], p["role"], p["items"]) for p in parts["profiles"]}
    held = {h["recipient"]: _held(h) for h in parts["held"]}
    consents = frozenset(ConsentRef(c["purpose"], c["party"], c["channel"]) for c in parts["consents"])
    member = Member(
        member_ref=row["member_ref"],
        seq=row["seq"],
        status=row["status"],
        signed_up_at=row["signed_up_at"],
        email=row["email"],
        name=row["name"],
        password_hash=row["password_hash"],
        birth_date=row["birth_date"],
        profiles=profiles,
        consents=consents,
        held=held,
        status_before=row["status_before"],
        withdrawal_requested_at=row["withdrawal_requested_at"],
        withdrawn_at=row["withdrawn_at"],
        dormant_notified_at=row["dormant_notified_at"],
        collected_via=row["collected_via"],
        age_declared=row["age_declared"],
        suspended=frozenset(row["suspended"]),
        guardian_confirmed=parts["guardian_confirmed"],
    )
    given = [ledger.given(row) for row in parts["ledger"]]
    return Loaded(member, ledger.holdings(given), parts["last_at"], ledger.bases(given))


def _held(h: Mapping[str, Any]) -> HeldState:
    marketing = Marketing(**h["marketing"]) if h["marketing"] else None
    return HeldState(h["prev"], h["epoch"], frozenset(h["roles"]), marketing)


async def insert_members(tx: Connection, members: Sequence[tuple[Member, bytes]]) -> frozenset[str]:
    """Insert many new account rows; return the references of those whose e-mail was free."""
    found = await tx.fetch(SQL["insert_members"], [_account(*each) for each in members]) if members else []
    return frozenset(row["member_ref"] for row in found)


Write = tuple[Step, Outgoing, Context]
Row = dict[str, Any]
"""A row by column, as the statement `write_changes` takes it: JSON."""
_ONE_MEMBER_AN_EMAIL: Final = "member_email_index_key"


class EmailTakenError(Exception):
    """Another member has this e-mail."""


async def write_change(tx: Connection, write: Write, email_index: bytes | None) -> None:
    """Write a change with the member's account row and hand its records to the outbox; raise EmailTakenError.

    Without an index the row keeps the one it has: a withdrawn member's is free when it is erased.
    """
    try:
        await write_changes(tx, [write], [_account(write[0].member, email_index)])
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == _ONE_MEMBER_AN_EMAIL:
            raise EmailTakenError from error
        raise


async def write_changes(tx: Connection, writes: Sequence[Write], accounts: Sequence[Row] = ()) -> None:
    """Write the changes of many members, one each: what ends first, then all that is new in one statement.

    `accounts` are the rows of members who are new or not as they were; an import has inserted them before.
    """
    touched = [s.member for s, _, _ in writes if s.change == "withdrawn" or _services(s)]
    await _many(tx, "delete_profiles", [(m.member_ref, list(m.profiles)) for m in touched if m.seq > 1])
    await _many(tx, "end_consents", [_ended_row(step, context) for step, _, context in writes if step.ended])
    new = [[row for w in writes for row in rows(*w)] for rows in _NEW]
    leaving = outbox.columns([record for _, out, _ in writes for record in out.records])
    await tx.execute(SQL["write_changes"], accounts, *new, *leaving)


async def _many(tx: Connection, name: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Run a statement for each row; nothing at all, not even its preparation, when there is none."""
    if found := list(rows):
        await tx.executemany(SQL[name], found)


def _account(m: Member, email_index: bytes | None) -> Row:
    return {
        "member_ref": m.member_ref,
        "seq": m.seq,
        "status": m.status,
        "email": m.email,
        "name": m.name,
        "password_hash": m.password_hash,
        "birth_date": m.birth_date,
        "collected_via": m.collected_via,
        "age_declared": m.age_declared,
        "email_index": None if email_index is None else f"\\x{email_index.hex()}",
        "signed_up_at": m.signed_up_at,
        "status_before": m.status_before,
        "withdrawal_requested_at": m.withdrawal_requested_at,
        "withdrawn_at": m.withdrawn_at,
        "dormant_notified_at": m.dormant_notified_at,
        "suspended": sorted(m.suspended),
    }


def _changes(step: Step, out: Outgoing, context: Context) -> Iterator[Row]:
    yield {
        "change_id": context.change_id,
        "member_ref": step.member.member_ref,
        "seq": step.member.seq,
        "name": step.change,
        "fact": out.fact.model_dump(mode="json"),
        "accepted_at": context.at,
        "status": step.member.in_force,
    }


def _profiles(step: Step, _: Outgoing, context: Context) -> Iterator[Row]:
    m = step.member
    for p in (m.profiles[service] for service in _services(step) if service in m.profiles):
        shown = {"service": p.service, "role": p.role, "items": dict(p.items)}
        yield {"member_ref": m.member_ref, **shown, "collected_via": _via(context)}


def _history(step: Step, _: Outgoing, context: Context) -> Iterator[Row]:
    """Roles and item names, no values: what answers for past instants. A service no longer used has role None."""
    m = step.member
    for service in _services(step):
        p = m.profiles.get(service)
        yield {
            "member_ref": m.member_ref,
            "service": service,
            "role": p.role if p else None,
            "items": sorted(p.items) if p else [],
            "collected_via": _via(context),
            "change_id": context.change_id,
            "at": context.given_at or context.at,
        }


def _services(step: Step) -> list[str]:
    """The services a step touches an item of."""
    return sorted({item.partition(".")[0] for item in step.items if "." in item})


def _via(context: Context) -> str:
    return context.collected_via or context.channel


def _consents(step: Step, _: Outgoing, context: Context) -> Iterator[Row]:
    for ref in step.given:
        yield {
            "member_ref": step.member.member_ref,
            "purpose": ref.purpose,
            "party": ref.party,
            "channel": ref.channel,
            "notice_version": context.notice_version,
            "notice_hash": context.notice_hash,
            "collected_via": _via(context),
            "actor": context.actor,
            "change_id": context.change_id,
            "given_at": context.given_at or context.at,
        }


def _held_now(step: Step, out: Outgoing, _: Context) -> Iterator[Row]:
    for recipient, held in out.held.items():
        state = {"prev": held.prev, "epoch": held.epoch, "roles": sorted(held.roles)}
        marketing = held.marketing.model_dump() if held.marketing else None
        yield {"member_ref": step.member.member_ref, "recipient": recipient, **state, "marketing": marketing}


def _deliveries(_: Step, out: Outgoing, context: Context) -> Iterator[Row]:
    for recipient, kind, record_id in out.deliveries:
        told = {"recipient": recipient, "kind": kind, "record_id": record_id}
        yield {"change_id": context.change_id, **told, "at": context.at}


def _disclosures(step: Step, out: Outgoing, context: Context) -> Iterator[Row]:
    for row in out.ledger:
        yield _disclosure(str(uuid7()), step.member.member_ref, row, context.change_id, context.at)


def _disclosure(disclosure_id: str, ref: str, row: LedgerRow, change_id: str | None, at: datetime) -> Row:
    return {
        "disclosure_id": disclosure_id,
        "member_ref": ref,
        "recipient": row.recipient,
        "kind": row.kind,
        "role": row.role,
        "items": dict(row.items),
        "purpose": row.purpose,
        "basis": row.basis,
        "change_id": change_id,
        "at": at,
    }


def _notices(_: Step, out: Outgoing, __: Context) -> Iterator[Row]:
    for notice in out.notices:
        yield {
            "notice_id": notice.notice_id,
            "change_id": notice.change_id,
            "member_ref": notice.member_ref,
            "recipient": notice.recipient,
            "seq": notice.seq,
            "items": list(notice.items),
            "created_at": notice.corrected_at,
        }


_NEW = (_changes, _profiles, _history, _consents, _held_now, _deliveries, _disclosures, _notices)
"""What the parameters of `write_changes` after the accounts are, in order; the rest are the outbox's."""


def _ended_row(step: Step, context: Context) -> tuple[Any, ...]:
    parts = zip(*((r.purpose, r.party, r.channel) for r in step.ended), strict=True)
    purposes, parties, channels = (list(part) for part in parts)
    return step.member.member_ref, purposes, context.at, context.change_id, parties, channels


async def write_disclosure(tx: Connection, record: DisclosureRecord, row: LedgerRow, carrier: outbox.Record) -> None:
    """Record a disclosure made outside a change, and hand its receipt to the outbox."""
    made = _disclosure(record.disclosure_id, record.member_ref, row, None, record.at)
    await tx.execute(SQL["insert_disclosure"], [made])
    await outbox.append(tx, [carrier])

"""The consent database: a member read as the model's state, a change written. The transaction is an argument."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from uuid_utils import uuid7

from schemas.base import Marketing
from schemas.events import Notice
from schemas.receipts import DisclosureRecord
from services.consent.model import ConsentRef, HeldState, Member, Profile, Step
from services.consent.records import Context, Holdings, LedgerRow, Outgoing
from services.runtime import outbox
from services.runtime.postgres import Connection
from services.runtime.queries import Queries

SQL = Queries("services.consent")


@dataclass(frozen=True)
class Loaded:
    """A member with what third parties hold, and when it last changed."""

    member: Member
    third_parties: Holdings
    last_at: datetime | None = None


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
    )
    return Loaded(member, _third_party_holdings(parts["ledger"]), parts["last_at"])


def _held(h: Mapping[str, Any]) -> HeldState:
    marketing = Marketing(**h["marketing"]) if h["marketing"] else None
    return HeldState(h["prev"], h["epoch"], frozenset(h["roles"]), marketing)


def _third_party_holdings(ledger: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """Fold the ledger in order: what each third party was given last, item by item."""
    held: dict[tuple[str, str], str] = {}
    for row in ledger:
        if row["kind"] == "third_party":
            held |= {(row["recipient"], item): given for item, given in row["items"].items()}
    return held


async def write_new_member(tx: Connection, member: Member, email_index: bytes) -> None:
    """Insert the account row of a new member; asyncpg.UniqueViolationError when the e-mail is taken."""
    await tx.execute(SQL["insert_member"], *_account_row(member), email_index, member.signed_up_at)


async def insert_members(tx: Connection, members: Sequence[tuple[Member, bytes]]) -> frozenset[str]:
    """Insert many new account rows; return the references of those whose e-mail was free."""
    rows = [(*_account_row(member), index, member.signed_up_at) for member, index in members]
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else []
    found = await tx.fetch(SQL["insert_members"], *columns) if columns else []
    return frozenset(row["member_ref"] for row in found)


def _account_row(m: Member) -> tuple[Any, ...]:
    account = (m.member_ref, m.seq, m.status, m.email, m.name, m.password_hash, m.birth_date)
    return *account, m.collected_via, m.age_declared


async def write_member(tx: Connection, member: Member, email_index: bytes | None) -> None:
    """Write a member's changed account row."""
    await tx.execute(
        SQL["update_member"],
        member.member_ref,
        member.status,
        member.email,
        member.name,
        member.password_hash,
        member.birth_date,
        email_index,
        member.status_before,
        member.withdrawal_requested_at,
        member.withdrawn_at,
        member.dormant_notified_at,
        sorted(member.suspended),
    )


Write = tuple[Step, Outgoing, Context]


async def write_change(tx: Connection, step: Step, out: Outgoing, context: Context) -> None:
    """Write all that one change brings besides the account row, and hand its records to the outbox."""
    await write_changes(tx, [(step, out, context)])


async def write_changes(tx: Connection, writes: Sequence[Write]) -> None:
    """Write the changes of many members, one each, in as few round trips as one needs."""
    await _write_profiles(tx, writes)
    await _write_consents(tx, writes)
    await _many(tx, "insert_change", [_change_row(*w) for w in writes])
    await _many(tx, "upsert_held", [row for w in writes for row in _held_rows(*w)])
    deliveries = [(c.change_id, *d, c.at) for _, out, c in writes for d in out.deliveries]
    await _many(tx, "insert_delivery", deliveries)
    await _many(tx, "insert_disclosure", [row for w in writes for row in _ledger_rows(*w)])
    await _many(tx, "insert_notice", [_notice_row(n) for _, out, _ in writes for n in out.notices])
    await outbox.append(tx, [record for _, out, _ in writes for record in out.records])


async def _many(tx: Connection, name: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Run a statement for each row; nothing at all, not even its preparation, when there is none."""
    if found := list(rows):
        await tx.executemany(SQL[name], found)


def _change_row(step: Step, out: Outgoing, context: Context) -> tuple[Any, ...]:
    fact = out.fact.model_dump(mode="json")
    told = (context.change_id, step.member.member_ref, step.member.seq, step.change, fact, context.at)
    return *told, step.member.in_force


def _held_rows(step: Step, out: Outgoing, _: Context) -> Iterator[tuple[Any, ...]]:
    for recipient, held in out.held.items():
        marketing = held.marketing.model_dump() if held.marketing else None
        yield step.member.member_ref, recipient, held.prev, held.epoch, sorted(held.roles), marketing


def _ledger_rows(step: Step, out: Outgoing, context: Context) -> Iterator[tuple[Any, ...]]:
    for row in out.ledger:
        yield _disclosure_row(str(uuid7()), step.member.member_ref, row, context.change_id, context.at)


def _notice_row(notice: Notice) -> tuple[Any, ...]:
    items = list(notice.items)
    told = (notice.notice_id, notice.change_id, notice.member_ref, notice.recipient, notice.seq)
    return *told, items, notice.corrected_at


async def _write_profiles(tx: Connection, writes: Sequence[Write]) -> None:
    touched = [s.member for s, _, _ in writes if s.change == "withdrawn" or _services(s)]
    await _many(tx, "delete_profiles", [(m.member_ref, list(m.profiles)) for m in touched if m.seq > 1])
    await _many(tx, "upsert_profile", [row for step, _, c in writes for row in _profile_rows(step, c)])
    await _many(tx, "insert_profile_history", [row for step, _, c in writes for row in _history_rows(step, c)])


def _services(step: Step) -> list[str]:
    """The services a step touches an item of."""
    return sorted({item.partition(".")[0] for item in step.items if "." in item})


def _profile_rows(step: Step, context: Context) -> Iterator[tuple[Any, ...]]:
    m = step.member
    for p in (m.profiles[service] for service in _services(step) if service in m.profiles):
        yield m.member_ref, p.service, p.role, dict(p.items), _via(context)


def _history_rows(step: Step, context: Context) -> Iterator[tuple[Any, ...]]:
    """Roles and item names, no values: what answers for past instants. A service no longer used has role None."""
    m = step.member
    for service in _services(step):
        p = m.profiles.get(service)
        kept = (p.role, sorted(p.items)) if p else (None, [])
        yield m.member_ref, service, *kept, _via(context), context.change_id, context.given_at or context.at


def _via(context: Context) -> str:
    return context.collected_via or context.channel


async def _write_consents(tx: Connection, writes: Sequence[Write]) -> None:
    ended = [_ended_row(step, context) for step, _, context in writes if step.ended]
    await _many(tx, "end_consents", ended)
    await _many(tx, "insert_consents", [_given_row(step, context) for step, _, context in writes if step.given])


def _ended_row(step: Step, context: Context) -> tuple[Any, ...]:
    purposes, parties, channels = _columns(step.ended)
    return step.member.member_ref, purposes, context.at, context.change_id, parties, channels


def _given_row(step: Step, context: Context) -> tuple[Any, ...]:
    evidence = (context.notice_version, context.notice_hash, _via(context), context.actor)
    given_at = context.given_at or context.at
    return step.member.member_ref, *_columns(step.given), *evidence, context.change_id, given_at


def _columns(refs: tuple[ConsentRef, ...]) -> tuple[list[str], list[str], list[str]]:
    return [r.purpose for r in refs], [r.party for r in refs], [r.channel for r in refs]


def _disclosure_row(
    disclosure_id: str, ref: str, row: LedgerRow, change_id: str | None, at: datetime
) -> tuple[Any, ...]:
    return (
        disclosure_id,
        ref,
        row.recipient,
        row.kind,
        row.role,
        dict(row.items),
        row.purpose,
        row.basis,
        change_id,
        at,
    )


async def write_disclosure(tx: Connection, record: DisclosureRecord, row: LedgerRow, carrier: outbox.Record) -> None:
    """Record a disclosure made outside a change, and hand its receipt to the outbox."""
    values = _disclosure_row(record.disclosure_id, record.member_ref, row, None, record.at)
    await tx.execute(SQL["insert_disclosure"], *values)
    await outbox.append(tx, [carrier])

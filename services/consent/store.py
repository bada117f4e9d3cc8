"""The consent database: reading a member as the model's state and writing one change. The transaction is an argument."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from uuid_utils import uuid7

from schemas.base import Marketing
from schemas.receipts import DisclosureRecord
from services.consent.model import ConsentRef, HeldState, Member, Profile, Step
from services.consent.records import Context, LedgerRow, Outgoing
from services.runtime import outbox
from services.runtime.queries import Queries

SQL = Queries("services.consent")


@dataclass(frozen=True)
class Loaded:
    """A member with what third parties hold: `{(recipient, item): commitment of the value last given}`."""

    member: Member
    third_parties: Mapping[tuple[str, str], str]


async def lock(tx: asyncpg.Connection, member_ref: str) -> Loaded | None:
    """Take the member's row lock and its next seq FIRST: so seq is gapless and equals commit order."""
    row = await tx.fetchrow(SQL["lock_member"], member_ref)
    return await _load(tx, row) if row else None


async def read(connection: asyncpg.Connection, member_ref: str) -> tuple[Loaded, list[dict[str, Any]]] | None:
    """Return a member and its live consents with evidence, or None."""
    row = await connection.fetchrow(SQL["read_member"], member_ref)
    if row is None:
        return None
    parts = await connection.fetchrow(SQL["read_parts"], member_ref)
    return _loaded(row, parts), parts["consents"]


async def _load(tx: asyncpg.Connection, row: asyncpg.Record) -> Loaded:
    return _loaded(row, await tx.fetchrow(SQL["read_parts"], row["member_ref"]))


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
        withdrawal_requested_at=row["withdrawal_requested_at"],
        withdrawn_at=row["withdrawn_at"],
    )
    return Loaded(member, _third_party_holdings(parts["ledger"]))


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


async def write_new_member(tx: asyncpg.Connection, member: Member, email_index: bytes) -> None:
    """Insert the account row of a new member; asyncpg.UniqueViolationError when the e-mail is taken."""
    await tx.execute(
        SQL["insert_member"],
        member.member_ref,
        member.seq,
        member.status,
        member.email,
        member.name,
        member.password_hash,
        member.birth_date,
        email_index,
        member.signed_up_at,
    )


async def write_member(tx: asyncpg.Connection, member: Member, email_index: bytes) -> None:
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
        member.withdrawal_requested_at,
        member.withdrawn_at,
    )


async def write_change(tx: asyncpg.Connection, step: Step, out: Outgoing, context: Context) -> None:
    """Write all that one change brings besides the account row, and hand its records to the outbox."""
    ref = step.member.member_ref
    await _write_profiles(tx, step)
    await _write_consents(tx, step, context)
    fact = out.fact.model_dump(mode="json")
    await tx.execute(SQL["insert_change"], context.change_id, ref, step.member.seq, step.change, fact, context.at)
    await tx.executemany(
        SQL["upsert_held"],
        [
            (
                ref,
                r,
                h.prev,
                h.epoch,
                sorted(h.roles),
                h.marketing.model_dump() if h.marketing else None,
            )
            for r, h in out.held.items()
        ],
    )
    await tx.executemany(SQL["insert_delivery"], [(context.change_id, *d, context.at) for d in out.deliveries])
    await tx.executemany(
        SQL["insert_disclosure"],
        [_disclosure_row(str(uuid7()), ref, row, context.change_id, context.at) for row in out.ledger],
    )
    await tx.executemany(
        SQL["insert_notice"],
        [(n.notice_id, n.change_id, ref, n.recipient, n.seq, list(n.items), n.corrected_at) for n in out.notices],
    )
    await outbox.append(tx, out.records)


async def _write_profiles(tx: asyncpg.Connection, step: Step) -> None:
    touches_profiles = step.change in {"signed_up", "withdrawn"} or any("." in item for item in step.items)
    if not touches_profiles:
        return
    ref, profiles = step.member.member_ref, step.member.profiles
    await tx.execute(SQL["delete_profiles"], ref, list(profiles))
    await tx.executemany(SQL["upsert_profile"], [(ref, p.service, p.role, dict(p.items)) for p in profiles.values()])


async def _write_consents(tx: asyncpg.Connection, step: Step, context: Context) -> None:
    ref = step.member.member_ref
    if step.ended:
        purposes, parties, channels = _columns(step.ended)
        await tx.execute(SQL["end_consents"], ref, purposes, context.at, context.change_id, parties, channels)
    if step.given:
        await tx.execute(
            SQL["insert_consents"],
            ref,
            *_columns(step.given),
            context.notice_version,
            context.notice_hash,
            context.channel,
            context.actor,
            context.change_id,
            context.at,
        )


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


async def write_disclosure(
    tx: asyncpg.Connection, record: DisclosureRecord, row: LedgerRow, carrier: outbox.Record
) -> None:
    """Record a disclosure made outside a change, and hand its receipt to the outbox."""
    values = _disclosure_row(record.disclosure_id, record.member_ref, row, None, record.at)
    await tx.execute(SQL["insert_disclosure"], *values)
    await outbox.append(tx, [carrier])

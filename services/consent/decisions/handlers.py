"""Questions about the past and the present: read in one snapshot, answered by the pure model; nothing is written."""

from datetime import datetime
from typing import Any

import asyncpg

from services.consent.decisions import model, reconsent
from services.consent.decisions.history import Given, Grant, History, PartsSpan, ProfileSpan, StatusSpan
from services.consent.decisions.model import Answer, Question
from services.consent.handlers import Consent
from services.consent.refusals import not_found
from services.consent.store import SQL
from services.policy import ids, questions
from services.policy.model import Rules
from services.policy.scope import Cited, reconsents
from services.runtime.postgres import Connection

AFFECTED_PAGE = 200
FIRST = "00000000-0000-0000-0000-000000000000"


async def decided(consent: Consent, ref: str, question: Question, *, outsider: bool) -> dict[str, Any]:
    """Return `{"allowed", "rule", "evidence", "at"}`; 404 for an unknown member.

    An `outsider` (an affiliate) learns of a member who never had to do with it only that no consent names it.
    """
    async with consent.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        history = await _history(connection, ref, question.recipient)
    found = model.answer(consent.rules, history, question)
    if outsider and not _concerns(history, question.recipient):
        found = Answer(False, ids.CONSENT)
    rule = questions.rule_of(consent.rules, found.rule)
    cited = {"kind": "rule", "id": rule.id, "clause": rule.clause, "statute": rule.statute, "ko": rule.ko}
    return {"allowed": found.allowed, "rule": found.rule, "evidence": [*found.evidence, cited], "at": question.at}


def _concerns(history: History, recipient: str) -> bool:
    return bool(history.ledger) or any(g.party == recipient for g in history.grants)


async def _history(tx: Connection, ref: str, recipient: str) -> History:
    signed_up_at = await tx.fetchval(SQL["decision_member"], ref)
    if signed_up_at is None:
        raise not_found()
    return History(
        signed_up_at=signed_up_at,
        statuses=tuple(StatusSpan(**row) for row in await tx.fetch(SQL["decision_statuses"], ref)),
        grants=tuple(Grant(**row) for row in await tx.fetch(SQL["decision_grants"], ref)),
        profiles=tuple(_profile(row) for row in await tx.fetch(SQL["decision_profiles"], ref)),
        ledger=tuple(_given(row) for row in await tx.fetch(SQL["decision_ledger"], ref, recipient)),
        parts=tuple(_parts(row) for row in await tx.fetch(SQL["decision_parts"], ref)),
        checks=tuple((row[0], row[1]) for row in await tx.fetch(SQL["decision_checks"], ref)),
    )


def _profile(row: asyncpg.Record) -> ProfileSpan:
    return ProfileSpan(**{**row, "items": tuple(row["items"])})


def _parts(row: asyncpg.Record) -> PartsSpan:
    return PartsSpan(frozenset(row["parts"]), row["since"], row["change_id"])


def _given(row: asyncpg.Record) -> Given:
    return Given(**{**row, "items": frozenset(row["items"])})


async def looked(consent: Consent, ref: str, at: datetime) -> dict[str, Any]:
    """Return what the append-only tables say of a member at an instant; 404 for an unknown member."""
    async with consent.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        history = await _history(connection, ref, "")
        ledger = await connection.fetch(SQL["list_disclosures"], ref)
    status = history.status_at(at)
    return {
        "at": at,
        "status": status.status if status else None,
        "consents": [g.evidence() for g in history.grants if g.live_at(at)],
        "services": [p.evidence() for p in history.profiles_at(at)],
        "disclosures": [dict(row) for row in ledger if row["at"] <= at],
        "holding": _holding(consent.rules, history, at),
    }


def _holding(rules: Rules, history: History, at: datetime) -> list[str]:
    """Return the affiliates that were to hold something at an instant: the account's operator, those shared with, and
    those that run a service the member used. Nobody after a withdrawal."""
    status = history.status_at(at)
    if status is None or status.status in {"withdrawn", "erased"}:
        return []
    shared = {g.party for g in history.grants if g.purpose == "sharing" and g.live_at(at)}
    used = {p.service for p in history.profiles_at(at)}
    found = rules.affiliates.values()
    return sorted(a.id for a in found if a.operator or a.id in shared or a.processes in used)


async def asked_again(consent: Consent, ref: str) -> dict[str, Any]:
    """Return the consents to ask a member for again: `{"notice_version", "reconsents": [...]}`; 404 for nobody."""
    at = consent.clock()
    async with consent.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        history = await _history(connection, ref, "")
    status = history.status_at(at)
    alive = status is not None and status.status not in {"withdrawn", "erased"}
    live = [g for g in history.grants if alive and g.live_at(at)]
    cited = [Cited(g.purpose, g.party, g.notice_version) for g in live]
    return {
        "notice_version": consent.rules.current_notice(at),
        "reconsents": [reconsent.shown(again) for again in reconsents(consent.rules, cited, at)],
    }


async def affected(
    consent: Consent, since: datetime, until: datetime, recipient: str | None, item: str | None, after: str | None
) -> dict[str, Any]:
    """Return whose data a recipient was given or held at some moment of a window: `{"member_refs", "next"}`.

    By the ledger and the stop records. A third party is never known to have let go of something, so it still counts.
    """
    bare = item.rpartition(".")[2] if item else None
    service = item.rpartition(".")[0] if item else ""
    processor = next((a.id for a in consent.rules.affiliates.values() if service and a.processes == service), None)
    window = (since, until, recipient, item, bare, after or FIRST, processor, AFFECTED_PAGE)
    rows = await consent.pool.fetch(SQL["affected_members"], *window)
    refs = [row["member_ref"] for row in rows]
    return {"member_refs": refs, "next": refs[-1] if len(refs) == AFFECTED_PAGE else None}

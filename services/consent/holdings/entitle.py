"""Gives an affiliate what members are entitled to let it have and it was never told of: a new affiliate, a new task.

Each member in a change of its own, decided by the policy in the member's transaction like any other: with its fact, its
ledger rows and its delivery. Nobody is given anything that a live grant or a service in use does not already allow.
"""

from typing import Any, Final

from services.consent import handlers, store
from services.consent.handlers import Caller, Consent
from services.consent.holdings.handlers import service_of
from services.consent.model import Member, Step
from services.consent.store import SQL
from services.keyring.derive import MemberKeys
from services.policy import decide as policy

NOTE: Final = "affiliate_backfill"
SYSTEM: Final = Caller("affiliate-backfill", "system")
PAGE: Final = 100


async def entitle(consent: Consent, affiliate: str, after: str | None, *, dry_run: bool) -> dict[str, Any]:
    """Look at the next members without a ledger row of this affiliate: `{"looked", "given", "next"}`."""
    service_of(consent, affiliate)
    rows = await consent.pool.fetch(SQL["entitle_page"], affiliate, after, PAGE)
    given = 0
    for row in rows:
        given += await _give(consent, row["member_ref"], affiliate, dry_run)
    consent.nudge()
    return {"looked": len(rows), "given": given, "next": rows[-1]["member_ref"] if len(rows) == PAGE else None}


async def _give(consent: Consent, ref: str, affiliate: str, dry_run: bool) -> bool:
    found = await store.snapshot(consent.pool, ref)
    if found is None or not _entitled(consent, found[0].member, affiliate):
        return False
    if not dry_run:
        async with consent.pool.acquire() as tx, tx.transaction():
            await handlers.change_within(consent, tx, ref, _unchanged, SYSTEM)
    return True


def _entitled(consent: Consent, member: Member, affiliate: str) -> bool:
    """Say whether the policy would send it a state now, at a change that touches nothing."""
    situation = handlers.situation_of(member, {}, frozenset(), MemberKeys(b""), consent.clock())
    decided = policy.decide(consent.rules, situation, policy.Change("consent_changed", frozenset()))
    return any(isinstance(a, policy.Project) and a.recipient == affiliate for a in decided.affiliates)


def _unchanged(member: Member) -> Step:
    return Step(member, "consent_changed", note=NOTE)

"""Sends a canary: a correction of a synthetic member, by the same way as everybody's, answered by the same receipts.

While the last one is out no other is sent, so an affiliate that is away has one waiting for it and not thousands.
Its address is below `.invalid` (RFC 2606), which a sign-up refuses: no person can have it, nothing can be sent to it.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from uuid_utils import uuid7

from services.consent import agreed, handlers, model, store
from services.consent.handlers import Caller, Consent
from services.consent.model import ConsentRef, Member, Step
from services.consent.store import SQL
from services.policy.scope import told_parties
from services.runtime.problem import Problem

DOMAIN: Final = "canary.dongui.invalid"
NAME: Final = "카나리아"
CALLER: Final = Caller("canary", "system")
RESEND_AFTER: Final = timedelta(minutes=10)
"""One that is out for this long is lost, or waits for an affiliate that is away: the next one shows which."""
ENDED: Final = frozenset({"withdrawn", "erased"})


@dataclass(frozen=True)
class Canary:
    """How far an affiliate's canary is. `returned_at` is when the last one that came back was SENT."""

    affiliate: str
    member_ref: str
    since: datetime
    seq: int | None
    sent_at: datetime | None
    out: bool
    returned_at: datetime | None
    round_trip_s: float | None

    def heard_at(self) -> datetime:
        """Return up to when the affiliate's stream is known to have moved; with none back, when the canary was made."""
        return self.returned_at or self.since

    def is_awaited(self, now: datetime) -> bool:
        """Say whether the last one is out, and not for so long that it must be taken for lost."""
        return self.out and self.sent_at is not None and now - self.sent_at < RESEND_AFTER

    def shown(self) -> dict[str, Any]:
        """Return it as JSON."""
        told = ("affiliate", "member_ref", "seq", "sent_at", "out", "returned_at", "round_trip_s")
        return {name: getattr(self, name) for name in told}


async def states(consent: Consent) -> list[Canary]:
    """Return every canary."""
    return [Canary(**row) for row in await consent.pool.fetch(SQL["canary_states"])]


async def send(consent: Consent, affiliate: str) -> Canary:
    """Send the affiliate's canary unless it is out, and return it; made the first time, and anew after it was ended.

    Raises Problem 404 for an affiliate there is not.
    """
    if affiliate not in consent.rules.affiliates:
        raise Problem(404, "affiliate_not_found", "그런 관계사가 없습니다.", "There is no such affiliate.")
    found = await _live(consent, affiliate)
    loaded = await store.snapshot(consent.pool, found.member_ref)
    if loaded is not None and loaded[0].member.status in ENDED:
        await consent.pool.execute(SQL["canary_end"], found.member_ref, consent.clock())
        found, loaded = await _live(consent, affiliate), None
    if loaded is None:
        await _sign_up(consent, found)
    else:
        await _change(consent, affiliate)
    return await _live(consent, affiliate)


async def _live(consent: Consent, affiliate: str) -> Canary:
    """Return the affiliate's canary, its reference reserved now if it had none."""
    await consent.pool.execute(SQL["canary_reserve"], affiliate, str(uuid7()), consent.clock())
    return next(one for one in await states(consent) if one.affiliate == affiliate)


async def _sign_up(consent: Consent, canary: Canary) -> None:
    """Make the member under the reserved reference: with the consents the affiliate needs, and no other."""
    at = consent.clock()
    version = consent.rules.current_notice(at)
    given = [ConsentRef("collection")]
    if canary.affiliate in told_parties(consent.rules, version, "sharing"):
        given.append(ConsentRef("sharing", canary.affiliate))
    member = Member(
        member_ref=canary.member_ref,
        seq=1,
        status="active",
        signed_up_at=at,
        email=f"{canary.affiliate}.{canary.member_ref[-12:]}@{DOMAIN}",
        name=f"{NAME} 1",
        password_hash=await handlers.hash_password(consent, secrets.token_urlsafe(32)),
        age_declared=True,
    )
    cited = agreed.notice(consent.rules, version, at)
    await handlers.create(consent, member, tuple(given), cited, CALLER, None)


async def _change(consent: Consent, affiliate: str) -> None:
    """Correct its name unless it is out; the lock on its row makes one of two that come at once the second."""
    async with consent.pool.acquire() as tx, tx.transaction():
        ref = await tx.fetchval(SQL["canary_lock"], affiliate)
        rows = await tx.fetch(SQL["canary_states"])
        found = next((Canary(**row) for row in rows if row["member_ref"] == ref), None)
        if found is None or found.is_awaited(consent.clock()):
            return
        await handlers.change_within(consent, tx, ref, _renamed, CALLER)
    consent.nudge()


def _renamed(member: Member) -> Step:
    return model.correct(member, name=f"{NAME} {member.seq}")

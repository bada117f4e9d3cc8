"""Replay from the consent database, for what the topics no longer have: present states instead of the way to them."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta

import aiohttp
from uuid_utils import uuid7

from schemas.topics import affiliate_topic
from services.commands.stores import Stores, live
from services.propagator.handlers import Propagator
from services.propagator.reconcile.ledger import Ledger
from services.propagator.reconcile.rounds import Cycle, Reconciler
from services.propagator.replay import plan as plans
from services.propagator.replay.executor import Progress, Reports
from services.propagator.replay.plan import Difference, Plan, Share
from services.propagator.replay.planner import Wish
from services.runtime.settings import Settings


@asynccontextmanager
async def reconciler(settings: Settings, propagator: Propagator) -> AsyncIterator[Reconciler]:
    """Yield what compares a store with its affiliate's ledger, by the affiliate's own token."""
    assert settings.consent_url
    token = settings.affiliate_tokens[propagator.affiliate].get_secret_value()
    async with aiohttp.ClientSession() as session:
        ledger = Ledger(session, settings.consent_url, propagator.affiliate, token)
        yield Reconciler(propagator, ledger, timedelta(seconds=settings.reconcile_grace_s))


@asynccontextmanager
async def live_reconciler(settings: Settings, affiliate: str) -> AsyncIterator[Reconciler]:
    """Yield the same for a live store; what it repairs is answered as the live stream would."""
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(live(settings, lambda _: True))
        yield await stack.enter_async_context(reconciler(settings, await opened(affiliate)))


async def plan(settings: Settings, wish: Wish, at: datetime, opened: Stores) -> Plan:
    """Return the plan of a replay of the ledger: what one cycle of reconcile says differs."""
    started, shares = time.monotonic(), []
    for affiliate in wish.selection.affiliates:
        async with reconciler(settings, await opened(affiliate)) as compares:
            shares.append(_share(affiliate, await compares.cycle(repair=False)))
    return Plan(
        plan_id=str(uuid7()),
        planned_at=at,
        reason=wish.reason,
        source="consent",
        selection=wish.selection,
        effects=wish.effects,
        rate=wish.rate,
        shares=tuple(shares),
        estimated_s=round(time.monotonic() - started, 1),
        not_sent=plans.not_sent(shares, wish.effects),
    )


def _share(affiliate: str, found: Cycle) -> Share:
    different = tuple(Difference(member_ref=d.member_ref, rows=d.rows) for d in found.drifts[: plans.SHOWN_MAX])
    return Share(
        affiliate=affiliate,
        topic=affiliate_topic(affiliate),
        ranges=(),
        read=found.members,
        selected=found.members,
        duplicates=found.members - len(found.drifts),
        members=found.members,
        members_changed=len(found.drifts),
        differences=different,
    )


async def fill(settings: Settings, plan: Plan, reports: Reports, opened: Stores) -> Progress:
    """Make anew what is not as the ledger says, everything where a store is empty. Raises CancelledReplayError."""
    started, before = time.monotonic(), 0

    def progress(looked: int) -> Progress:
        took_s = time.monotonic() - started
        return Progress(before + looked, max(plan.total, before + looked), {}, (before + looked) / took_s)

    async def tell(looked: int) -> None:
        await reports(progress(looked))

    for share in plan.shares:
        async with reconciler(settings, await opened(share.affiliate)) as compares:
            looked, _ = await compares.fill(tell)
        before += looked
    return progress(0)

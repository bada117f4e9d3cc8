"""One cycle over a store: digests by range, the members of those that differ, why, and their repair if it is wanted."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

import structlog
from prometheus_client import Counter, Gauge
from uuid_utils import uuid7

from schemas.receipts import RegisterEntry
from services.propagator import parking, store
from services.propagator.handlers import Propagator
from services.propagator.model import State
from services.propagator.reconcile import drift, rebuild
from services.propagator.reconcile.drift import Drift
from services.propagator.reconcile.ledger import MEMBERS_MAX, Holding, Ledger, Span
from services.propagator.reconcile.unanswered import tell_again
from services.propagator.store import SQL
from services.runtime import outbox
from services.runtime.register_record import carrier

RANGE: Final = 1000
PARTS: Final = 10
REFS_MAX: Final = 10_000
PAGE: Final = 200
GRACE: Final = timedelta(seconds=60)
"""What a change may take to arrive before its absence is drift."""
LOOKS: Final = 3
LOOK_AGAIN_S: Final = 0.5

DRIFT = Gauge("dongui_reconcile_drift_members", "Members that differed in the last cycle", ["affiliate", "why"])
REPAIRED = Counter("dongui_reconcile_repaired", "Members made anew from the ledger", ["affiliate"])
DONE_AT = Gauge("dongui_reconcile_done_seconds", "When the last cycle ended (Unix time)", ["affiliate"])
log = structlog.get_logger("reconcile")


@dataclass
class Cycle:
    """What one cycle found. `in_flight`: members whose change is still on its way, looked at again next time.

    `answered`: answers the ledger had not got, told again.
    """

    members: int = 0
    ranges: int = 0
    ranges_differed: int = 0
    in_flight: int = 0
    drifts: list[Drift] = field(default_factory=list)
    repaired: int = 0
    answered: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Reconciler:
    """Compares one affiliate's store with its ledger. `repair_max`: with more drift than this, a person decides."""

    propagator: Propagator
    ledger: Ledger
    grace: timedelta = GRACE
    repair_max: int | None = None
    strangers: bool = True
    """Whether a repair takes away members the ledger does not know: after a restored ledger a person must say so."""

    async def cycle(self, *, repair: bool) -> Cycle:
        """Look at everything once, repair it if that is wanted, and tell the ledger what it was not answered.

        Raises LedgerError, KeyServiceError and database errors: nothing is half done.
        """
        started, found, suspects = time.monotonic(), Cycle(), set[str]()
        salt, after = secrets.token_hex(16), None
        while True:
            spans, after = await self.ledger.digests(salt, size=RANGE, parts=PARTS, after=after)
            different = await self._differing(salt, spans)
            found.members += sum(s.members for s in spans)
            found.ranges += len(spans)
            found.ranges_differed += len(different)
            for span in different:
                suspects |= await self._suspects(salt, span)
            if after is None:
                break
        suspects |= await self._gapped()
        await self._settle(found, sorted(suspects), repair)
        found.seconds = time.monotonic() - started
        self._tell(found)
        if repair and (told := await tell_again(self.propagator, self.ledger, self.grace)):
            log.warning("answers_told_again", affiliate=self.propagator.affiliate, changes=told)
            found.answered = told
        return found

    async def _differing(self, salt: str, spans: Sequence[Span]) -> list[Span]:
        """Return the ranges whose rows here are not what the ledger says."""
        bounds = [s.after for s in spans], [s.until for s in spans]
        rows = await self.propagator.pool.fetch(SQL["reconcile_digests"], *bounds, salt)
        ours = [(row["members"], row["digest"]) for row in rows]
        return [span for span, mine in zip(spans, ours, strict=True) if (span.members, span.digest) != mine]

    async def _suspects(self, salt: str, span: Span) -> set[str]:
        """Return the members of a range that may differ, by a digest each; strangers to the ledger among them."""
        found: set[str] = set()
        after, last = span.after, False
        while not last:
            each, rest = await self.ledger.digests(salt, size=1, parts=RANGE, after=after, until=span.until)
            for one in await self._differing(salt, each):
                found |= {one.last} if one.last else set()
                found |= await self._refs(one)
            last, after = rest is None, rest
        return found

    async def _refs(self, span: Span) -> set[str]:
        rows = await self.propagator.pool.fetch(SQL["reconcile_refs"], span.after, span.until, REFS_MAX)
        return {row["member_ref"] for row in rows}

    async def _gapped(self) -> set[str]:
        """Return the members of whom something is missing for longer than it may take."""
        since = self.propagator.clock() - self.grace
        rows = await self.propagator.pool.fetch(SQL["reconcile_gaps"], since, REFS_MAX)
        return {row["member_ref"] for row in rows}

    async def _settle(self, found: Cycle, suspects: list[str], repair: bool) -> None:
        """Look closer at the suspects, some at a time; repair what is drift."""
        for start in range(0, len(suspects), MEMBERS_MAX):
            refs = suspects[start : start + MEMBERS_MAX]
            for look in range(LOOKS):
                drifts, moving = await self._look(refs)
                if not moving or look == LOOKS - 1:
                    break
                await asyncio.sleep(LOOK_AGAIN_S)
            found.in_flight += len(moving)
            found.drifts += drifts
        enough = self.repair_max is None or len(found.drifts) <= self.repair_max
        wanted = [d.member_ref for d in found.drifts if self._repairs(d)]
        if repair and wanted and enough:
            await self.repair(found, wanted)

    def _repairs(self, found: Drift) -> bool:
        """Say whether the ledger is to be followed: not of a member it knows less of than the store."""
        return found.why != "ledger_behind" if found.ledger_seq else self.strangers

    async def _look(self, refs: Sequence[str]) -> tuple[list[Drift], list[str]]:
        """Return which of these differ, and which of those that differ are on their way.

        The ledger is read before the store: what is committed between the two shows as a store that is ahead.
        """
        now = self.propagator.clock()
        holdings = await self.ledger.members(refs)
        wanted = await rebuild.expected(self.propagator, holdings, now)
        async with self.propagator.pool.acquire() as tx, tx.transaction(isolation="repeatable_read", readonly=True):
            actual, rows = await store.read(tx, refs), await rebuild.visible(tx, refs)
            parked = await parking.members(tx, refs)
        known = await self._known_less(holdings, actual)
        drifts, moving = [], []
        for holding in holdings:
            ref = holding.member_ref
            difference = drift.explain(holding, wanted[ref], actual[ref], rows[ref])
            if difference and ref in known:
                drifts.append(replace(difference, why="ledger_behind", ledger_seq=known[ref]))
            elif difference and (ref in parked or drift.in_flight(holding, actual[ref], now, self.grace)):
                moving.append(ref)
            elif difference:
                drifts.append(difference)
        return drifts, moving

    async def _known_less(self, holdings: Sequence[Holding], actual: Mapping[str, State]) -> dict[str, int]:
        """Return the members of whom the store has seen more than the ledger told, with the last that it told.

        It is asked again, after the store was read: what was on its way then is in its answer now.
        """
        ahead = [h.member_ref for h in holdings if actual[h.member_ref].seq > h.seq]
        again = await self.ledger.members(ahead) if ahead else []
        return {h.member_ref: h.seq for h in again if actual[h.member_ref].seq > h.seq}

    async def repair(self, found: Cycle, refs: Sequence[str]) -> None:
        """Make these members anew from the ledger; how many were is an entry of the audit log."""
        for start in range(0, len(refs), MEMBERS_MAX):
            holdings = await self.ledger.members(refs[start : start + MEMBERS_MAX])
            states = await rebuild.expected(self.propagator, holdings, self.propagator.clock())
            found.repaired += len(await rebuild.rebuild(self.propagator, holdings, states))
        await self._entry({"repaired": str(found.repaired), "drift": str(len(found.drifts))})
        REPAIRED.labels(self.propagator.affiliate).inc(found.repaired)

    async def fill(self, tell: Callable[[int], Awaitable[None]] | None = None) -> tuple[int, int]:
        """Go through everything the ledger has and make anew what is not as it says: for a store that lost much.

        Returns (members, members made anew); `tell` hears how many were looked at, and may raise to stop.
        """
        looked, made, after = 0, 0, None
        while True:
            holdings, after = await self.ledger.page(after, PAGE)
            made += await self._made_right(holdings)
            looked += len(holdings)
            if tell is not None:
                await tell(looked)
            if after is None:
                break
        if made:
            await self._entry({"repaired": str(made), "drift": str(made)})
            REPAIRED.labels(self.propagator.affiliate).inc(made)
        return looked, made

    async def _made_right(self, holdings: Sequence[Holding]) -> int:
        """Make anew those of these members that are not as the ledger says; the parked and suppressed are left."""
        pool, refs = self.propagator.pool, [h.member_ref for h in holdings]
        states = await rebuild.expected(self.propagator, holdings, self.propagator.clock())
        actual, rows = await store.read(pool, refs), await rebuild.visible(pool, refs)
        left = await parking.members(pool, refs) | {ref for ref, state in actual.items() if state.suppressed}
        wrong = [
            h
            for h in holdings
            if h.member_ref not in left
            and drift.explain(h, states[h.member_ref], actual[h.member_ref], rows[h.member_ref])
        ]
        return len(await rebuild.rebuild(self.propagator, wrong, states)) if wrong else 0

    async def _entry(self, codes: dict[str, str]) -> None:
        affiliate = self.propagator.affiliate
        entry = RegisterEntry(
            entry_id=str(uuid7()),
            kind="reconcile",
            subject=str(uuid7()),
            state="repaired",
            at=self.propagator.clock(),
            actor="system",
            codes={"affiliate": affiliate, **codes},
        )
        async with self.propagator.pool.acquire() as tx, tx.transaction():
            await outbox.append(tx, [carrier(entry, f"/dongui/propagator/{affiliate}")])
        self.propagator.nudge()

    def _tell(self, found: Cycle) -> None:
        affiliate, counted = self.propagator.affiliate, drift.by_why(found.drifts)
        for why in drift.WHYS:
            DRIFT.labels(affiliate, why).set(counted.get(why, 0))
        DONE_AT.labels(affiliate).set_to_current_time()
        told: dict[str, Any] = {"affiliate": affiliate, "members": found.members, "seconds": round(found.seconds, 3)}
        if counted:
            log.error("store_drifted", **told, **counted, repaired=found.repaired)
        else:
            log.info("store_reconciled", **told, in_flight=found.in_flight)

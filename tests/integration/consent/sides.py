"""Affiliates' stores beside a consent process without a relay: fed from its outbox, and held against its ledger."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
from aiokafka import ConsumerRecord

from schemas.topics import RECEIPTS, affiliate_topic
from services.consent import receipts
from services.propagator.handlers import Propagator
from services.propagator.reconcile.ledger import Ledger
from services.propagator.reconcile.rounds import Cycle, Reconciler
from tests.integration.consent.harness import Service

DATA = "SELECT coalesce(jsonb_agg(to_jsonb(t) - 'applied_at' ORDER BY member_ref), '[]') FROM {} AS t"

LEFT = """
WITH gone AS (UPDATE outbox SET published_at = now() WHERE published_at IS NULL RETURNING *)
SELECT * FROM gone ORDER BY position
"""


@dataclass
class Side:
    """One affiliate's store beside the service, fed from the service's outbox."""

    affiliate: str
    service: Service
    propagator: Propagator
    ledger: Ledger
    owner: asyncpg.Pool
    position: int = 0

    async def sent(self) -> list[Any]:
        """Return what the outbox has for this affiliate since the last time."""
        rows = await self.service.pool.fetch(
            "SELECT position, aggregateid, payload, headers FROM outbox WHERE aggregatetype = $1 AND position > $2"
            " ORDER BY position",
            affiliate_topic(self.affiliate),
            self.position,
        )
        self.position = rows[-1]["position"] if rows else self.position
        return [_record(affiliate_topic(self.affiliate), row) for row in rows]

    async def feed(self, skip: Callable[[int], bool] = lambda _: False) -> None:
        """Apply all of that but for the places that are skipped."""
        await self.propagator.apply([r for i, r in enumerate(await self.sent()) if not skip(i)])

    async def heard(self) -> None:
        """Let what is in the store's outbox leave, and the consent service take the receipts among it."""
        rows = await self.owner.fetch(LEFT)
        found = [_record(RECEIPTS, r) for r in rows if r["aggregatetype"] == RECEIPTS]
        async with self.service.pool.acquire() as tx, tx.transaction():
            await receipts.record(tx, found)

    def reconciler(self, grace: timedelta = timedelta(0)) -> Reconciler:
        return Reconciler(self.propagator, self.ledger, grace)

    async def cycle(self, *, repair: bool = False, grace: timedelta = timedelta(0)) -> Cycle:
        return await self.reconciler(grace).cycle(repair=repair)

    async def rows(self) -> list[Any]:
        return [await self.owner.fetchval(DATA.format(table)) for table in ("member", "processed_member", "gap")]


def _record(topic: str, row: Any) -> Any:
    headers = tuple((name, text.encode()) for name, text in row["headers"].items())
    key = row["aggregateid"].encode()
    return ConsumerRecord(topic, 0, row["position"], 0, 0, key, row["payload"], None, 0, 0, headers)

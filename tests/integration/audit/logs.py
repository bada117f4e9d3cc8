"""A real log on a real database without Kafka: leaves as the writer makes them, checkpoints, places, the patrol."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from aiokafka import ConsumerRecord

from schemas.envelope import to_headers
from schemas.events import Fact
from schemas.receipts import Receipt
from schemas.topics import FACTS, RECEIPTS
from services.audit import api, store
from services.audit.anchors import Anchors
from services.audit.leaf import Leaf, of_record
from services.audit.notary import Notary
from services.audit.patrol import Patrol
from services.audit.places import Folder
from services.runtime.auth import Principal
from services.runtime.clock import utc_now
from services.runtime.rates import Rates
from tests.integration.audit import records

SEED = bytes(range(32))


class Compliance:
    """Stands for the identity provider: everyone is compliance staff."""

    async def principal(self, _authorization: str | None) -> Principal:
        return Principal("staff", frozenset({"compliance"}))


def leaf_of(shape: Fact | Receipt, offset: int = 0) -> Leaf:
    """The leaf of one record, decoded from the bytes that would be in Kafka."""
    envelope = records.envelope_of(shape)
    headers = [(name, text.encode()) for name, text in to_headers(envelope).items()]
    value = records.encoded(shape, envelope)
    topic = FACTS if isinstance(shape, Fact) else RECEIPTS
    record = ConsumerRecord(topic, 0, offset, 0, 0, b"", value, None, 0, len(value), tuple(headers))
    leaf = of_record(record)
    assert leaf is not None
    return leaf


@dataclass
class Log:
    """One log: the pool is the process role's, which may insert and select only."""

    pool: asyncpg.Pool
    data_dir: Path
    notary: Notary
    anchors: Anchors
    patrol: Patrol

    @classmethod
    def of(cls, pool: asyncpg.Pool, data_dir: Path) -> "Log":
        notary = Notary(pool, SEED, data_dir, utc_now)
        notary.publish_key()
        anchors = Anchors(pool, [], [Folder("data-dir", data_dir / "checkpoints")], utc_now)
        return cls(pool, data_dir, notary, anchors, Patrol(pool, notary.verifier, data_dir, utc_now, rest=0))

    async def append(self, leaves: list[Leaf]) -> None:
        async with self.pool.acquire() as tx, tx.transaction():
            await store.append(tx, await store.frontier(tx), leaves)

    async def grow(self, count: int) -> None:
        size = await store.size(self.pool)
        await self.append([leaf_of(records.a_fact(records.a_member(), 1), size + n) for n in range(count)])

    async def seal(self) -> None:
        await self.notary.sign()
        await self.anchors.push()

    async def exported(self, path: Path, until: int = 0) -> Path:
        """Export over HTTP, as `dongui audit export` does."""

        async def ready() -> dict[str, bool]:
            return {}

        who: Any = Compliance()
        app = api.create(self.pool, who, Rates(50, 5000), vkey="", clock=utc_now, ready=ready)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://audit") as client:
            answer = await client.get("/v1/audit/export", params={"until": until})
        assert answer.status_code == 200
        path.write_bytes(answer.content)
        return path

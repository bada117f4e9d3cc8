"""Many third parties, some dead: who lives is told once and at once; who was dead is told when it is back."""

import asyncio
import random
from datetime import timedelta
from typing import Any

from aiokafka import ConsumerRecord

from benchmarks.crowd import Crowd, Sealed, key_service, sealed
from schemas.topics import NOTICES
from services.runtime.settings import Settings
from tests.integration.notices.conftest import AT, a_record, due_now, sending, until

TRIED = (
    "SELECT recipient, count(*) FROM attempt JOIN notice USING (position) WHERE recipient = ANY($1) GROUP BY recipient"
)
ANSWERED = "SELECT count(*) FROM notice WHERE state = 'acknowledged' AND recipient = ANY($1)"


def _record(offset: int, one: Sealed) -> ConsumerRecord[Any, Any]:
    return a_record(NOTICES, offset, one.notice.member_ref, one.value, one.headers)


async def test_of_400_notices_the_living_get_theirs_once_and_the_dead_theirs_when_they_are_back(
    settings: Settings,
) -> None:
    crowd = Crowd.of(8, 3)
    names = list(crowd.ports)
    crowd.behaviour[flapping := names[0]] = "flapping"
    made = sealed(random.Random(6).choices(names, k=400), AT)
    mine = {name: {m.notice.notice_id for m in made if m.notice.recipient == name} for name in names}
    living = crowd.living()
    dead = [name for name in names if name not in {*living, flapping}]
    async with crowd.listening(), key_service() as url:
        told = settings.model_copy(update={"third_parties": crowd.settings(), "consent_url": url})
        async with sending(told, timeout_s=1.0, pause=timedelta(seconds=1)) as parts:
            await parts.ingest.apply([_record(i, m) for i, m in enumerate(made)])
            await until(parts.pool, ANSWERED, sum(len(mine[name]) for name in living), living, timeout_s=60)
            for name in living:
                assert {n: len(times) for n, times in crowd.arrivals[name].items()} == dict.fromkeys(mine[name], 1)
            assert await parts.pool.fetchval(ANSWERED, dead) == 0
            await until(parts.pool, f"SELECT count(*) FROM ({TRIED}) AS t", len(dead), dead)
            tried = dict(await parts.pool.fetch(TRIED, dead))
            assert all(0 < tried[name] < len(mine[name]) for name in dead), "asked, but not once per notice"
            await until(parts.pool, f"SELECT ({ANSWERED}) > 0", True, [flapping])
            await crowd.revive()
            async with asyncio.timeout(60):
                while await parts.pool.fetchval(ANSWERED, names) < len(made):
                    await due_now(parts)
                    await asyncio.sleep(0.5)
    assert {n for name in names for n in crowd.arrivals[name]} == {m.notice.notice_id for m in made}

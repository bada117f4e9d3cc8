"""Who is still owed an answer, at a cost of what waits and not of all there ever was; and offsets of long ago."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg

from services.audit import sweep
from services.runtime.clock import utc_now
from services.runtime.consumer import AppendedOffsets
from tests.integration.audit import records
from tests.integration.audit.logs import Log, leaf_of


async def test_an_answer_before_its_fact_leaves_nobody_waiting(log: Log) -> None:
    fact = records.a_fact(records.a_member(), 1, recipients=("tmax-os", "tmax-anc"))
    await log.append([leaf_of(records.an_answer(fact, "tmax-os"), 0)])
    await log.append([leaf_of(fact, 1)])
    late = records.AT + timedelta(days=2)
    assert [o.recipient for o in await sweep.overdue(log.pool, late)] == ["tmax-anc"]
    await log.append([leaf_of(records.an_answer(fact, "tmax-anc"), 2)])
    assert await log.pool.fetchval("SELECT count(*) FROM waiting") == 0
    assert await log.pool.fetchval("SELECT count(*) FROM owed") == 2


async def test_the_sweep_outlives_a_database_that_is_away(log: Log, databases: Any) -> None:
    """Found in review: its error ended the writer's lease, with all that the writer does."""
    stop = asyncio.Event()
    async with databases.blocked("audit"):
        watching = asyncio.create_task(sweep.watch(log.pool, utc_now, stop))
        await asyncio.sleep(1)
        assert not watching.done()
    stop.set()
    await asyncio.wait_for(watching, 10)


async def test_old_offsets_are_forgotten_and_the_newest_of_each_partition_never(log: Log, databases: Any) -> None:
    offsets = AppendedOffsets()
    async with log.pool.acquire() as connection:
        tx: Any = connection
        await offsets.store(tx, {("quiet", 0): 7, ("quiet", 1): 8, ("other", 0): 9})
    owner = await asyncpg.connect(databases.owner_dsn("audit"))
    await owner.execute(
        "INSERT INTO consumer_offset (topic, partition, next_offset) "
        "SELECT 'busy', n % 3, n FROM generate_series(1, 109000) AS n"
    )
    await owner.close()
    before = {("quiet", 0): 7, ("quiet", 1): 8, ("busy", 0): 108999, ("busy", 1): 109000, ("busy", 2): 108998}
    topics = ["quiet", "busy", "nothing"]
    assert await offsets.load(tx_of(log), topics) == before
    assert await log.pool.fetchval("SELECT offsets_forget()") == 8999
    assert await log.pool.fetchval("SELECT offsets_forget()") == 0
    assert await offsets.load(tx_of(log), topics) == before


def tx_of(log: Log) -> Any:
    """A pool, where one statement is all there is."""
    return log.pool

"""Opening a database: one that is away is waited for, anything else that is wrong is said at once."""

import asyncio
from typing import Any

import asyncpg
import pytest

from services.runtime import postgres


async def test_a_database_that_is_away_at_the_start_is_waited_for(databases: Any) -> None:
    """Found by chaos: processes that were started while the database server recovered ended with status 1."""
    dsn = databases.dsn("retention")
    async with databases.blocked("retention"):
        opening = asyncio.create_task(postgres.wait_for_pool(dsn, size=1))
        await asyncio.sleep(1)
        assert not opening.done()
    pool = await asyncio.wait_for(opening, 10)
    assert await pool.fetchval("SELECT 1") == 1
    pool.terminate()


async def test_patience_ends_and_is_not_for_what_waiting_does_not_mend(
    databases: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = databases.dsn("retention")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await postgres.wait_for_pool(f"{dsn}-elsewhere")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await postgres.wait_for_pool(dsn.replace("retention:", "retention:not", 1))
    monkeypatch.setattr(postgres, "PATIENCE_S", 0.5)
    async with databases.blocked("retention"):
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
            await postgres.wait_for_pool(dsn)

"""The keyring on a real database: one key per member, shredded for good, nowhere in clear."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from services.keyring import kek
from services.keyring.kek import FileKek, KekError
from services.keyring.keyring import KeyDestroyedError, Keyring, KeyUnknownError
from services.runtime.postgres import open_pool


class Ring:
    """A keyring, a second one as another process would have it, and the time both see."""

    def __init__(self, pool: asyncpg.Pool, path: Path) -> None:
        self.now = 0.0
        self.pool = pool
        self.one = Keyring(pool, FileKek(path), monotonic=lambda: self.now)
        self.two = Keyring(pool, FileKek(path), monotonic=lambda: self.now)


@pytest_asyncio.fixture
async def ring(databases: Any, tmp_path: Path) -> AsyncIterator[Ring]:
    kek.generate(tmp_path / "kek")
    pool = await open_pool(databases.dsn("keyring"), size=4)
    yield Ring(pool, tmp_path / "kek")
    await pool.close()


def a_member() -> str:
    return str(uuid.uuid4())


async def test_a_member_has_one_key_whoever_asks_and_however_often(ring: Ring) -> None:
    ref = a_member()
    keys = await asyncio.gather(*(r.create(ref) for r in (ring.one, ring.two) for _ in range(5)))
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    assert await ring.two.data_key(ref) == keys[0]


async def test_many_keys_are_made_at_once_or_none(ring: Ring) -> None:
    refs = [a_member() for _ in range(3)]
    made = await ring.one.create_many(refs)
    assert await ring.two.data_keys(refs) == made
    assert len(set(made.values())) == 3
    fresh = a_member()
    with pytest.raises(asyncpg.UniqueViolationError):
        await ring.one.create_many([fresh, refs[0]])
    with pytest.raises(KeyUnknownError):
        await ring.two.data_key(fresh)


async def test_a_member_without_a_key_is_unknown(ring: Ring) -> None:
    with pytest.raises(KeyUnknownError):
        await ring.one.data_key(a_member())


async def test_a_shredded_key_is_gone_at_once_and_never_made_again(ring: Ring) -> None:
    ref = a_member()
    await ring.one.create(ref)
    await ring.one.shred(ref)
    for step in (ring.one.data_key, ring.one.create, ring.two.data_key, ring.two.create):
        with pytest.raises(KeyDestroyedError):
            await step(ref)
    await ring.one.shred(ref)


async def test_a_member_that_never_had_a_key_can_be_shredded_too(ring: Ring) -> None:
    ref = a_member()
    await ring.one.shred(ref)
    with pytest.raises(KeyDestroyedError):
        await ring.one.create(ref)


async def test_another_process_holds_a_key_for_five_minutes_at_most(ring: Ring) -> None:
    ref = a_member()
    key = await ring.two.create(ref)
    await ring.one.shred(ref)
    ring.now = 299.0
    assert await ring.two.data_key(ref) == key
    ring.now = 300.0
    with pytest.raises(KeyDestroyedError):
        await ring.two.data_key(ref)


async def test_a_batch_always_asks_the_database(ring: Ring) -> None:
    kept, shredded, unknown = a_member(), a_member(), a_member()
    key = await ring.two.create(kept)
    await ring.two.create(shredded)
    await ring.one.shred(shredded)
    found = await ring.two.data_keys([kept, shredded, unknown])
    assert found[kept] == key
    assert isinstance(found[shredded], KeyDestroyedError)
    assert isinstance(found[unknown], KeyUnknownError)


async def test_a_shred_that_overtakes_a_read_leaves_nothing_in_the_cache(ring: Ring) -> None:
    """The read has the row, the shred commits and forgets, then the read would put the key back."""
    ref = a_member()
    await ring.two.create(ref)
    unwrap = ring.one._kek.unwrap

    async def shred_meanwhile(*arguments: Any) -> bytes:
        key = await unwrap(*arguments)
        await ring.one.shred(ref)
        return key

    ring.one._kek.unwrap = shred_meanwhile  # type: ignore[method-assign]
    await ring.one.data_key(ref)
    ring.one._kek.unwrap = unwrap  # type: ignore[method-assign]
    with pytest.raises(KeyDestroyedError):
        await ring.one.data_key(ref)


async def test_no_key_stands_in_the_database_in_clear(ring: Ring, databases: Any) -> None:
    ref = a_member()
    key = await ring.one.create(ref)
    owner = await asyncpg.connect(databases.owner_dsn("keyring"))
    wrapped = await owner.fetchval("SELECT wrapped FROM member_key WHERE member_ref = $1", uuid.UUID(ref))
    assert key not in wrapped
    await ring.one.shred(ref)
    row = await owner.fetchrow("SELECT wrapped, shredded_at FROM member_key WHERE member_ref = $1", uuid.UUID(ref))
    assert row is not None
    assert row["wrapped"] is None
    assert row["shredded_at"] is not None
    await owner.close()


async def test_the_database_refuses_to_bring_a_shredded_key_back(ring: Ring, databases: Any) -> None:
    ref = a_member()
    await ring.one.shred(ref)
    with pytest.raises(asyncpg.RaiseError, match="stays shredded"):
        await ring.pool.execute(
            "UPDATE member_key SET wrapped = $2, shredded_at = NULL WHERE member_ref = $1", ref, b"x" * 60
        )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await ring.pool.execute("DELETE FROM member_key WHERE member_ref = $1", ref)


async def test_a_key_moved_to_another_members_row_does_not_open(ring: Ring) -> None:
    one, two = a_member(), a_member()
    await ring.one.create(one)
    await ring.one.create(two)
    await ring.pool.execute(
        "UPDATE member_key SET wrapped = (SELECT wrapped FROM member_key WHERE member_ref = $1) WHERE member_ref = $2",
        one,
        two,
    )
    with pytest.raises(KekError, match="kek_mismatch"):
        await ring.two.data_key(two)

"""One data key per member. To shred it is to erase every copy of the member outside live stores.

The table is its own database with its own role, left out of long backups (design.md section 2.4).
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Final

import asyncpg

from services.keyring.cache import TTL_S_MAX, KeyCache
from services.keyring.derive import KEY_BYTES
from services.keyring.kek import KekProvider
from services.runtime.clock import Clock, utc_now
from services.runtime.queries import Queries

CACHE_MAX: Final = 10_000


class KeyUnknownError(Exception):
    """No key was ever made for this member."""

    code: Final = "key_unknown"


class KeyDestroyedError(Exception):
    """The member's key was shredded; what it sealed is unreadable for ever."""

    code: Final = "key_destroyed"


Found = bytes | KeyUnknownError | KeyDestroyedError


class Keyring:
    """Data keys of members by member_ref (lower-case UUID). Safe to share within one event loop."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        kek: KekProvider,
        *,
        clock: Clock = utc_now,
        cache_ttl_s: float = TTL_S_MAX,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take a pool of the keyring database (services.runtime.postgres.open_pool)."""
        self._pool = pool
        self._kek = kek
        self._clock = clock
        self._sql = Queries("services.keyring")
        self._cache = KeyCache(ttl_s=cache_ttl_s, size_max=CACHE_MAX, monotonic=monotonic)

    async def create(self, member_ref: str) -> bytes:
        """Return the member's data key, made now if there was none; raise KeyDestroyedError."""
        generation = self._cache.generation
        key = os.urandom(KEY_BYTES)
        wrapped = await self._kek.wrap(key, member_ref.encode())
        row = (member_ref, wrapped, self._kek.key_id, self._clock())
        if await self._pool.execute(self._sql["insert_key"], *row) != "INSERT 0 1":
            return await self.data_key(member_ref)
        self._cache.put(member_ref, key, generation)
        return key

    async def create_many(self, member_refs: Sequence[str]) -> dict[str, bytes]:
        """Return new data keys for members that have none yet, made in one statement.

        Raises asyncpg.UniqueViolationError, and makes none, when one of them has a key or had one.
        """
        generation, at = self._cache.generation, self._clock()
        keys = {ref: os.urandom(KEY_BYTES) for ref in member_refs}
        wrapped = [await self._kek.wrap(key, ref.encode()) for ref, key in keys.items()]
        await self._pool.execute(self._sql["insert_keys"], list(keys), wrapped, self._kek.key_id, at)
        for ref, key in keys.items():
            self._cache.put(ref, key, generation)
        return keys

    async def data_key(self, member_ref: str) -> bytes:
        """Return the 32-byte data key; raise KeyUnknownError or KeyDestroyedError.

        Another process's shred shows here after five minutes at the latest.
        """
        cached = self._cache.get(member_ref)
        if cached is not None:
            return cached
        found = (await self.data_keys([member_ref]))[member_ref]
        if isinstance(found, bytes):
            return found
        raise found

    async def data_keys(self, member_refs: Sequence[str]) -> dict[str, Found]:
        """Return for each reference its data key, or the error `data_key` would raise.

        Always asks the database: it serves callers who keep keys for five minutes themselves, and
        a cache on top of theirs would make it ten.
        """
        generation = self._cache.generation
        rows = await self._pool.fetch(self._sql["read_keys"], list(member_refs))
        found: dict[str, Found] = {ref: KeyUnknownError() for ref in member_refs}
        for row in rows:
            found[row["member_ref"]] = await self._unwrapped(row)
        for ref, key in found.items():
            if isinstance(key, bytes):
                self._cache.put(ref, key, generation)
        return found

    async def shred(self, *member_refs: str) -> None:
        """Destroy these keys for good, all or none; again, or for a member without a key, it is as destroyed.

        This process holds no copy after. Others may for five minutes (cache), backups as long as
        they are kept.
        """
        try:
            await self._pool.execute(self._sql["shred_keys"], member_refs, self._clock())
        finally:
            # Also when the answer was lost: the keys may be gone all the same.
            for member_ref in member_refs:
                self._cache.forget(member_ref)

    async def _unwrapped(self, row: asyncpg.Record) -> bytes | KeyDestroyedError:
        if row["wrapped"] is None:
            return KeyDestroyedError()
        ref: str = row["member_ref"]
        return await self._kek.unwrap(row["wrapped"], ref.encode(), row["kek_id"])

"""A new KEK on a real database: every data key opens as before, under either KEK, wherever the rotation is cut."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from services import cli
from services.keyring import kek, rotation
from services.keyring.kek import FileKek, KekError, Keks
from services.keyring.keyring import KeyDestroyedError, Keyring
from services.keyring.vault import open_vault
from services.runtime.postgres import open_pool
from tests.support.vault import Vault, running, token_file

COUNT = 25


@pytest_asyncio.fixture
async def pool(databases: Any) -> AsyncIterator[asyncpg.Pool]:
    made = await open_pool(databases.dsn("keyring"), size=4)
    yield made
    await made.close()


@pytest.fixture
def old(tmp_path: Path) -> FileKek:
    kek.generate(tmp_path / "old")
    return FileKek(tmp_path / "old")


@pytest.fixture
def new(tmp_path: Path) -> FileKek:
    kek.generate(tmp_path / "new")
    return FileKek(tmp_path / "new")


async def members(pool: asyncpg.Pool, kek: FileKek) -> dict[str, bytes]:
    return await Keyring(pool, kek).create_many([str(uuid.uuid4()) for _ in range(COUNT)])


async def test_every_data_key_stays_what_it_was(pool: asyncpg.Pool, old: FileKek, new: FileKek) -> None:
    keys = await members(pool, old)
    assert await rotation.counts(pool) == {old.key_id: COUNT}
    assert await rotation.rotate(pool, Keks(new, [old]), batch=7) == COUNT
    assert await rotation.counts(pool) == {new.key_id: COUNT}
    assert await Keyring(pool, new).data_keys(list(keys)) == keys
    with pytest.raises(KekError, match="kek_other"):
        await Keyring(pool, old).data_keys(list(keys))
    assert await rotation.rotate(pool, Keks(new, [old])) == 0, "again is harmless"


class CutError(Exception):
    """The rotation's process died here."""


class Cut(Keks):
    """KEKs that stop answering after some keys, as a process that is killed."""

    left = 10

    async def rewrap(self, wrapped: bytes, aad: bytes, key_id: str) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise CutError
        return await super().rewrap(wrapped, aad, key_id)


async def test_a_rotation_that_was_cut_goes_on_and_everything_opens_meanwhile(
    pool: asyncpg.Pool, old: FileKek, new: FileKek
) -> None:
    keys = await members(pool, old)
    with pytest.raises(CutError):
        await rotation.rotate(pool, Cut(new, [old]), batch=4)
    assert await rotation.counts(pool) == {old.key_id: COUNT - 8, new.key_id: 8}
    both = Keyring(pool, Keks(new, [old]))
    assert await both.data_keys(list(keys)) == keys
    not_restarted = Keyring(pool, Keks(old, [new]))
    assert await not_restarted.data_keys(list(keys)) == keys
    await not_restarted.create(str(uuid.uuid4()))
    assert await rotation.rotate(pool, Keks(new, [old]), batch=4) == COUNT - 8 + 1
    assert await rotation.counts(pool) == {new.key_id: COUNT + 1}


class Shredding(Keks):
    """KEKs during whose work a member is erased: the key was read already when it is destroyed."""

    ring: Keyring
    victim: str

    async def rewrap(self, wrapped: bytes, aad: bytes, key_id: str) -> bytes:
        if aad.decode() == self.victim:
            await self.ring.shred(self.victim)
        return await super().rewrap(wrapped, aad, key_id)


async def test_a_key_that_is_shredded_meanwhile_stays_shredded(pool: asyncpg.Pool, old: FileKek, new: FileKek) -> None:
    keys = await members(pool, old)
    keks = Shredding(new, [old])
    keks.ring, keks.victim = Keyring(pool, old), sorted(keys)[3]
    await rotation.rotate(pool, keks)
    with pytest.raises(KeyDestroyedError):
        await Keyring(pool, new).data_key(keks.victim)
    assert await rotation.counts(pool) == {new.key_id: COUNT - 1}


async def test_the_keys_move_into_vault_and_follow_its_versions(
    pool: asyncpg.Pool, old: FileKek, tmp_path: Path
) -> None:
    keys = await members(pool, old)
    wanted = {"mount": "transit", "key": "dongui", "token_file": token_file(tmp_path)}
    async with running(Vault()) as server:
        async with open_vault(server.url, **wanted) as first:
            assert await rotation.rotate(pool, Keks(first, [old])) == COUNT
            assert await Keyring(pool, first).data_keys(list(keys)) == keys
        server.keys["dongui"].rotate()
        async with open_vault(server.url, **wanted) as second:
            assert await Keyring(pool, second).data_keys(list(keys)) == keys
            assert await rotation.rotate(pool, second) == COUNT
            server.keys["dongui"].min_decryption_version = 2
            assert await Keyring(pool, second).data_keys(list(keys)) == keys


async def test_the_command_rotates_and_counts(
    pool: asyncpg.Pool, old: FileKek, new: FileKek, databases: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await members(pool, old)
    monkeypatch.setenv("DONGUI_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DONGUI_KEYRING_DSN", databases.dsn("keyring"))
    monkeypatch.setenv("DONGUI_KEK_FILE", str(tmp_path / "new"))
    without_old = await asyncio.to_thread(dongui, "keyring", "rotate")
    assert (without_old.exit_code, "kek_other" in without_old.stderr) == (1, True)
    monkeypatch.setenv("DONGUI_KEK_OLD_FILE", str(tmp_path / "old"))
    done = await asyncio.to_thread(dongui, "keyring", "rotate", "--batch", "10")
    assert (done.exit_code, done.stderr) == (0, f"{COUNT} data keys wrapped anew\n")
    shown = await asyncio.to_thread(dongui, "keyring", "status", "--format", "json")
    assert json.loads(shown.stdout) == [{"kek": new.key_id, "keys": COUNT, "wraps": True}]


def dongui(*arguments: str) -> Result:
    return CliRunner().invoke(cli.build(arguments), list(arguments))

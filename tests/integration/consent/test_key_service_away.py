"""The key service down: writes fail closed and leave nothing; a shred takes hold in every process in five minutes."""

import secrets
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from services.keyring import derive
from services.keyring.kek import FileKek
from services.keyring.keyring import KeyDestroyedError, Keyring
from services.propagator.keys import ContentKeys
from services.runtime.postgres import open_pool
from services.runtime.settings import Settings
from tests.integration.consent.harness import Service, a_sign_up, a_token, running, settings_in
from tests.support import vault as fake
from tests.support.databases import Databases
from tests.support.vault import Vault, token_file

WRITTEN = ("member", "change", "outbox", "delivery", "disclosure", "idempotency")


@pytest_asyncio.fixture
async def vault() -> AsyncIterator[Vault]:
    async with fake.running(Vault()) as server:
        yield server


@pytest.fixture
def vaulted(stack: Any, databases: Databases, vault: Vault, tmp_path: Path) -> Settings:
    """Settings of a consent process whose KEK is in Vault."""
    found = settings_in(tmp_path, stack, databases, f"t{secrets.token_hex(4)}-")
    names = {"vault_url": vault.url, "vault_token_file": token_file(tmp_path), "vault_transit_key": "dongui"}
    return found.model_copy(update={**names, "kek_file": None})


async def rows(databases: Databases) -> dict[str, int]:
    """Return how much is stored, by table; keys too."""
    found = {}
    for name, tables in (("consent", WRITTEN), ("keyring", ("member_key",))):
        connection = await asyncpg.connect(databases.owner_dsn(name))
        for table in tables:
            found[table] = await connection.fetchval(f"SELECT count(*) FROM {table}")
        await connection.close()
    return found


@pytest.mark.f(33)
async def test_without_the_key_service_no_write_is_accepted_and_nothing_is_stored(
    vaulted: Settings, databases: Databases, vault: Vault
) -> None:
    async with running(vaulted, databases, relay=False) as service:
        made = await service.sign_up()
    before = await rows(databases)
    key = str(uuid.uuid4())
    body = a_sign_up(email="second@example.kr")
    async with running(vaulted, databases, relay=False) as restarted:
        vault.sealed = True
        refused = await restarted.post("/v1/members", body, key=key)
        corrected = await restarted.patch(made["member_ref"], 1, {"name": "새 이름"})
        revoked = await restarted.put(made["member_ref"], 1, "sharing", {"granted": False, "recipients": ["tmax-os"]})
        withdrawn = await restarted.post(f"/v1/members/{made['member_ref']}/withdrawal")
        for answer in (refused, corrected, revoked, withdrawn):
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert answer.headers["retry-after"] == "1"
        assert await rows(databases) == before
        assert (await restarted.http.get(f"/v1/members/{made['member_ref']}")).status_code == 200, "reading needs none"
        vault.sealed = False
        accepted = await restarted.post("/v1/members", body, key=key)
        assert accepted.status_code == 201, "the same Idempotency-Key, as the refusal said"
        assert (await restarted.patch(made["member_ref"], 1, {"name": "새 이름"})).status_code == 200


@pytest.mark.f(33)
async def test_a_process_without_its_key_service_does_not_start(
    vaulted: Settings, databases: Databases, vault: Vault
) -> None:
    vault.token = "s.another"
    with pytest.raises(OSError, match="kek_forbidden"):
        async with running(vaulted, databases, relay=False):
            pass


async def test_a_shred_takes_hold_in_every_process_within_five_minutes(silent: Service, tmp_path: Path) -> None:
    """Consent's own cache lives 300 s, a propagator's 240 s on an answer that was fresh."""
    now = [0.0]
    made = await silent.sign_up()
    ref = made["member_ref"]
    kid = derive.format_kid("tmax-os", ref, 1)
    pool = await open_pool(silent.settings.secret("keyring_dsn"), size=2)
    assert silent.settings.kek_file
    another = Keyring(pool, FileKek(silent.settings.kek_file), monotonic=lambda: now[0])
    eraser = Keyring(pool, FileKek(silent.settings.kek_file))
    async with aiohttp.ClientSession() as session:
        token = a_token("tmax-os", "affiliate")
        propagator = ContentKeys(session, silent.url, token, monotonic=lambda: now[0])
        key = (await propagator.find([kid]))[kid]
        assert isinstance(key, bytes)
        await another.data_key(ref)
        await eraser.shred(ref)
        now[0] = 239.9
        assert (await propagator.find([kid]))[kid] == key
        now[0] = 240.0
        assert (await propagator.find([kid]))[kid] == "key_destroyed"
    now[0] = 299.9
    assert len(await another.data_key(ref)) == 32
    now[0] = 300.0
    with pytest.raises(KeyDestroyedError):
        await another.data_key(ref)
    await pool.close()

"""The retention process's KEK by its settings: a file, then Vault's Transit engine, then Vault's next version."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from services.keyring.kek import KekProvider, KekUnavailableError
from services.keyring.provider import open_kek
from services.retention import readings, sweep
from services.retention.app import build
from services.retention.readings import Question, Vault
from services.runtime.settings import MissingSettingsError, Settings
from tests.integration.retention.harness import Pair
from tests.support import vault as fake
from tests.support.vault import running, token_file


def settings_of(pair: Pair, url: str, folder: Path) -> Settings:
    told = {
        "vault_url": url,
        "retention_vault_transit_key": "records",
        "retention_vault_token_file": token_file(folder),
    }
    return pair.parts.settings.model_copy(update=told)


@asynccontextmanager
async def opened(pair: Pair, settings: Settings) -> AsyncIterator[tuple[Vault, KekProvider]]:
    async with open_kek(settings, "records") as kek:
        yield replace(pair.parts.vault, kek=kek), kek


async def keks_of(pair: Pair, ref: str) -> set[str]:
    owner = await pair.owner("retention")
    try:
        query = "SELECT kek_id FROM record_key JOIN kept_record USING (record_id) WHERE member_ref = $1"
        return {row["kek_id"] for row in await owner.fetch(query, ref)}
    finally:
        await owner.close()


async def test_records_move_from_a_file_into_vault_and_on_to_its_next_version(pair: Pair, tmp_path: Path) -> None:
    ref, _ = await pair.member_with({"class": "contract", "fields": {"order_no": "K-1"}})
    await pair.moved(ref)
    question = Question("compliance", "case-7", "officer-1", member_ref=ref)
    async with running(fake.Vault()) as server:
        server.keys["records"] = fake.TransitKey()
        settings = settings_of(pair, server.url, tmp_path)
        for version in (1, 2):
            async with opened(pair, settings) as (vault, kek):
                assert await sweep.rewrap(vault.pool, kek) >= 1
                assert await keks_of(pair, ref) == {f"vault:transit/records:v{version}"}
                found = await readings.read(vault, question)
                assert [r["fields"] for r in found["records"]] == [{"order_no": "K-1"}]
            server.keys["records"].rotate()
        async with opened(pair, settings) as (vault, _):
            server.sealed = True
            with pytest.raises(KekUnavailableError):
                await readings.read(vault, question)
            server.sealed = False
            await _back_to_the_file(pair, vault)
    assert await keks_of(pair, ref) == {pair.parts.vault.kek.key_id}


async def _back_to_the_file(pair: Pair, vault: Vault) -> None:
    """Leave the package's own process with keys it can open."""
    file = pair.parts.vault.kek
    async with vault.pool.acquire() as connection:
        rows = await connection.fetch("SELECT * FROM keys_of_other_keks($1, 1000)", file.key_id)
        for row in rows:
            key = await vault.kek.unwrap(row["wrapped"], row["record_id"].encode(), row["kek_id"])
            wrapped = await file.wrap(key, row["record_id"].encode())
            await connection.execute("SELECT rewrap_key($1, $2, $3)", row["record_id"], wrapped, file.key_id)


async def test_with_vault_the_process_asks_for_a_key_and_a_token_of_its_own() -> None:
    members = {"vault_transit_key": "dongui", "vault_token_file": Path("token")}
    with pytest.raises(MissingSettingsError, match="DONGUI_RETENTION_VAULT_TRANSIT_KEY") as missing:
        async with build(Settings(kafka="localhost:1", vault_url="https://vault.example.kr", **members)):
            pass
    assert "DONGUI_RETENTION_KEK_FILE" not in str(missing.value)

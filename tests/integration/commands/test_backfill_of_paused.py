"""`dongui affiliate backfill` of a paused affiliate: refused before anything is given or written."""

import asyncio
import json

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from services import cli
from tests.support.databases import Databases

AFFILIATE = "tmax-os"


async def dongui(*arguments: str) -> Result:
    """Run the command in a thread: it has a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, cli.build(arguments), list(arguments))


@pytest.fixture
def store(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> str:
    """One affiliate's store; the consent service is away."""
    settings = {"PROFILE": "dev", "CONSENT_URL": "http://127.0.0.1:9", "SERVICE_TOKEN": "x"}
    settings |= {"AFFILIATE_DSNS": json.dumps({AFFILIATE: databases.dsn(AFFILIATE)})}
    settings |= {"AFFILIATE_TOKENS": json.dumps({AFFILIATE: "x"})}
    for name, value in settings.items():
        monkeypatch.setenv(f"DONGUI_{name}", value)
    return databases.owner_dsn(AFFILIATE)


async def test_a_paused_affiliate_is_not_filled_and_the_next_step_is_named(store: str) -> None:
    assert (await dongui("affiliate", "pause", AFFILIATE, "--as", "sre.kim")).exit_code == 0
    refused = await dongui("affiliate", "backfill", AFFILIATE)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert f"next: dongui affiliate resume {AFFILIATE}" in refused.stderr
    for allowed in (("backfill", AFFILIATE, "--dry-run"), ("resume", AFFILIATE), ("backfill", AFFILIATE)):
        done = await dongui("affiliate", *allowed)
        assert "is paused" not in done.stderr, allowed
    connection = await asyncpg.connect(store)
    assert await connection.fetchval("SELECT count(*) FROM member") == 0
    await connection.close()

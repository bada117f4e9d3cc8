"""A new affiliate by data alone: a TOML file and a database. Nothing reaches it before, all it is entitled to after."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from services.policy.model import PolicyError, load
from services.propagator.handlers import Propagator
from services.propagator.keys import ContentKeys
from services.propagator.reconcile.ledger import Ledger
from services.runtime import postgres
from services.runtime.clock import utc_now
from tests.integration.consent.harness import Service, a_token, running, settings_in
from tests.integration.consent.sides import Side
from tests.support.databases import Databases

NEW = "tmax-data"
FILE = f"""
[[affiliate]]
id = "{NEW}"
ko = "㈜티맥스데이터"
en = "Tmax Data"
clause = "4.3"
"""


@pytest_asyncio.fixture
async def both(stack: Any, templates: Any, tmp_path: Path) -> AsyncIterator[tuple[Service, Service]]:
    """The same consent database without and with the new affiliate's file, which makes it an operator too."""
    databases = Databases(templates, f"t{secrets.token_hex(4)}")
    settings = settings_in(tmp_path, stack, databases, "")
    folder = tmp_path / "affiliates"
    folder.mkdir()
    (folder / f"{NEW}.toml").write_text(FILE + "operator = true\n", encoding="utf-8")
    added = settings.model_copy(update={"affiliates_dir": folder})
    async with running(settings, databases, relay=False) as before, running(added, databases, relay=False) as after:
        yield before, after
    await databases.drop()


async def test_a_new_affiliate_gets_what_members_let_it_have_and_its_store_is_right(
    both: tuple[Service, Service],
) -> None:
    before, service = both
    members = [await before.sign_up() for _ in range(3)]
    left = (await before.sign_up())["member_ref"]
    for step in ("withdrawal", "withdrawal/confirm"):
        await before.post(f"/v1/members/{left}/{step}")
    assert (await before.http.post(f"/v1/affiliates/{NEW}/backfill", json={})).status_code == 404

    dry = await service.http.post(f"/v1/affiliates/{NEW}/backfill", json={"dry_run": True})
    assert dry.json() == {"looked": 3, "given": 3, "next": None}
    assert await service.pool.fetchval("SELECT count(*) FROM held WHERE recipient = $1", NEW) == 0
    given = await service.http.post(f"/v1/affiliates/{NEW}/backfill", json={})
    assert given.json() == {"looked": 3, "given": 3, "next": None}
    again = await service.http.post(f"/v1/affiliates/{NEW}/backfill", json={})
    assert again.json() == {"looked": 0, "given": 0, "next": None}
    ledger = await service.pool.fetchval("SELECT count(*) FROM disclosure WHERE recipient = $1", NEW)
    assert ledger == len(members)

    pool = await postgres.open_pool(service.databases.dsn("tmax-anc"), size=3)
    owner = await postgres.open_pool(service.databases.owner_dsn("tmax-anc"), size=1)
    try:
        async with aiohttp.ClientSession() as session:
            token = a_token(NEW, "affiliate")
            propagator = Propagator(NEW, pool, ContentKeys(session, service.url, token), utc_now)
            side = Side(NEW, service, propagator, Ledger(session, service.url, NEW, token), owner)
            await side.feed()
            found = await side.cycle()
            assert (found.members, found.drifts) == (3, [])
            assert await owner.fetchval("SELECT count(*) FROM member") == 3
            await owner.execute("TRUNCATE member, watermark")
            assert await side.reconciler().fill() == (3, 3)
            assert (await side.cycle()).drifts == []
            assert await side.reconciler().fill() == (3, 0)
    finally:
        pool.terminate()
        owner.terminate()


def test_a_file_that_breaks_the_policy_or_brings_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(FILE.replace(NEW, "tmax-os"), encoding="utf-8")
    with pytest.raises(PolicyError, match="an id is used twice"):
        load(tmp_path)
    (tmp_path / "one.toml").write_text('[[rule]]\nid = "mine"\n', encoding="utf-8")
    with pytest.raises(PolicyError, match="an added file may not have: rule"):
        load(tmp_path)
    (tmp_path / "one.toml").write_text(FILE + 'processes = "nothing"\n', encoding="utf-8")
    with pytest.raises(PolicyError, match="affiliate processes an unknown service"):
        load(tmp_path)
    (tmp_path / "one.toml").write_text(FILE, encoding="utf-8")
    assert set(load(tmp_path).affiliates) == set(load().affiliates) | {NEW}

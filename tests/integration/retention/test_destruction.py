"""The end of keeping: on its day a record goes with its key, an entry remains, and nothing brings it back."""

import asyncio
import uuid
from dataclasses import replace
from datetime import datetime, timedelta

import asyncpg

from services.keyring import kek
from services.retention import store, sweep
from services.retention.readings import Question, read
from services.runtime.clock import KST
from tests.integration.consent.harness import a_token, bearer
from tests.integration.retention.harness import Pair

CASE = {"class": "dispute", "fields": {"ticket_id": "T-9"}}
# 3 years from 2026-10-01 (a Thursday): last day Monday 2029-10-01.
LAST_EVENING = datetime(2029, 10, 1, 23, 59, 59, tzinfo=KST)
DAY_AFTER = datetime(2029, 10, 2, 0, 0, tzinfo=KST)


async def kept(pair: Pair, record_id: str) -> tuple[int, int]:
    """Return how many rows of the record and of its key there are."""
    owner = await asyncpg.connect(pair.databases.owner_dsn("retention"))
    try:
        rows = await owner.fetchval("SELECT count(*) FROM kept_record WHERE record_id = $1", uuid.UUID(record_id))
        keys = await owner.fetchval("SELECT count(*) FROM record_key WHERE record_id = $1", uuid.UUID(record_id))
    finally:
        await owner.close()
    return rows, keys


async def test_a_record_stays_through_its_last_day_and_goes_with_its_key_on_the_next(pair: Pair) -> None:
    ref, (record_id,) = await pair.member_with(CASE)
    await pair.moved(ref)
    await sweep.look(pair.parts.vault.pool, LAST_EVENING)
    assert await kept(pair, record_id) == (1, 1)
    assert await sweep.look(pair.parts.vault.pool, DAY_AFTER) >= 1
    assert await kept(pair, record_id) == (0, 0)
    entry = next(e for e in await pair.entries("retention_destroyed") if e["subject"] == record_id)
    assert (entry["member_ref"], entry["state"], entry["actor"]) == (ref, "destroyed", "system")
    assert entry["codes"] == {
        "class": "dispute",
        "rule": "ecommerce.dispute",
        "place": "retention",
        "destroy_on": "2029-10-02",
    }
    assert await sweep.look(pair.parts.vault.pool, DAY_AFTER) == 0


async def test_a_replay_after_the_destruction_brings_nothing_back(pair: Pair) -> None:
    ref, (record_id,) = await pair.member_with(CASE)
    await pair.moved(ref)
    await sweep.look(pair.parts.vault.pool, DAY_AFTER)
    owner = await asyncpg.connect(pair.databases.owner_dsn("consent"))
    try:
        await owner.execute("UPDATE outbox SET published_at = NULL WHERE id = $1", uuid.UUID(record_id))
    finally:
        await owner.close()
    pair.service.consent.nudge()
    await pair.service.relayed()
    marker, (following,) = await pair.member_with(CASE)
    await pair.moved(marker)
    assert await kept(pair, following) == (1, 1)
    assert await kept(pair, record_id) == (0, 0)


async def test_a_hold_keeps_a_record_beyond_its_time_until_it_is_lifted(pair: Pair) -> None:
    ref, (record_id,) = await pair.member_with(CASE)
    await pair.moved(ref)
    headers, path = bearer(a_token("officer-1", "cpo")), f"/v1/retention/holds/{ref}"
    body = {"reason": "litigation"}
    denied = await pair.http.put(path, json=body, headers=bearer(a_token("x", "service")))
    assert denied.status_code == 403
    for _ in range(2):
        assert (await pair.http.put(path, json=body, headers=headers)).status_code == 204
    await sweep.look(pair.parts.vault.pool, DAY_AFTER)
    assert await kept(pair, record_id) == (1, 1)
    assert (await pair.http.delete(path, headers=headers)).status_code == 204
    assert (await pair.http.delete(path, headers=headers)).status_code == 404
    await sweep.look(pair.parts.vault.pool, DAY_AFTER)
    assert await kept(pair, record_id) == (0, 0)
    entries = [e for e in await pair.entries("legal_hold") if e["member_ref"] == ref]
    assert [(e["state"], e["codes"]) for e in entries] == [
        ("held", {"reason": "litigation", "place": "retention"}),
        ("lifted", {"place": "retention"}),
    ]
    assert len({e["subject"] for e in entries}) == 1, "the lift names the hold"


async def test_the_notes_of_readings_go_after_two_years(pair: Pair) -> None:
    nobody = str(uuid.uuid4())
    await pair.read(nobody)
    pool = pair.parts.vault.pool
    destroy_on = await pool.fetchval("SELECT destroy_on FROM reading WHERE member_ref = $1", nobody)
    day = datetime.combine(destroy_on, datetime.min.time(), KST)
    assert timedelta(days=365 * 2) <= day - datetime.now(KST) + timedelta(days=2)
    await sweep.look(pool, day - timedelta(seconds=1))
    assert await pool.fetchval("SELECT count(*) FROM reading WHERE member_ref = $1", nobody) == 1
    await sweep.look(pool, day)
    assert await pool.fetchval("SELECT count(*) FROM reading WHERE member_ref = $1", nobody) == 0


async def test_two_sweeps_at_once_destroy_each_record_once(pair: Pair) -> None:
    ref, ids = await pair.member_with(*[CASE] * 6)
    await pair.moved(ref)
    pool = pair.parts.vault.pool
    await asyncio.gather(*(sweep.look(pool, DAY_AFTER) for _ in range(3)))
    entries = [e["subject"] for e in await pair.entries("retention_destroyed") if e["member_ref"] == ref]
    assert sorted(entries) == sorted(ids)


async def test_a_page_takes_no_more_than_it_may(pair: Pair) -> None:
    await sweep.look(pair.parts.vault.pool, DAY_AFTER)
    ref, ids = await pair.member_with(*[CASE] * 3)
    await pair.moved(ref)
    async with pair.parts.vault.pool.acquire() as connection, connection.transaction():
        gone = await store.destroy(connection, DAY_AFTER.date(), DAY_AFTER, 2)
    assert len(gone) == 2
    assert sum([(await kept(pair, record_id))[0] for record_id in ids]) == 1
    assert {row["member_ref"] for row in gone} == {ref}


async def test_a_rotation_of_the_kek_wraps_the_keys_anew_and_leaves_the_content(pair: Pair) -> None:
    ref, ids = await pair.member_with(*[CASE] * 3)
    await pair.moved(ref)
    fresh = pair.service.settings.data_dir / f"kek-{ref}"
    kek.generate(fresh)
    vault, new = pair.parts.vault, kek.FileKek(fresh)
    before = await columns(pair, ids)
    assert await sweep.rewrap(vault.pool, kek.Keks(new, [vault.kek])) >= 3
    assert {one["kek_id"] for one in await columns(pair, ids)} == {new.key_id}
    assert [one["sealed"] for one in await columns(pair, ids)] == [one["sealed"] for one in before]
    question = Question("compliance", "x", "officer-1", member_ref=ref)
    assert len((await read(replace(vault, kek=new), question))["records"]) == 3
    # And back: the process of the other tests has the old one.
    assert await sweep.rewrap(vault.pool, kek.Keks(vault.kek, [new])) >= 3
    assert await sweep.rewrap(vault.pool, vault.kek) == 0
    assert len((await pair.read(ref)).json()["records"]) == 3


async def columns(pair: Pair, ids: list[str]) -> list[asyncpg.Record]:
    owner = await asyncpg.connect(pair.databases.owner_dsn("retention"))
    try:
        query = "SELECT * FROM kept_record JOIN record_key USING (record_id) WHERE record_id = ANY($1) ORDER BY 1"
        return list(await owner.fetch(query, ids))
    finally:
        await owner.close()

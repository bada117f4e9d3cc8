"""The propagator as a process on a real topic: kills, stops, outages, duplicates; nothing lost, nothing doubled."""

import asyncio
import signal
from typing import Any

import asyncpg
import pytest

from schemas.topics import RECEIPTS, dlq_of
from tests.integration.propagator.harness import (
    AFFILIATE,
    TOPIC,
    KeyService,
    Member,
    Process,
    Store,
    Topic,
    changed,
    until,
)

KILLED = -signal.SIGKILL
HOLD = 4242


async def _rows(store: Store, count: int) -> None:
    await until(lambda: store.value("SELECT count(*) FROM member"), count)


async def _hold_commits(store: Store) -> asyncpg.Connection:
    """Make every COMMIT of a watermark wait for us inside the server; return the session that holds it back."""
    await store.pool.execute(f"""
        CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared({HOLD}); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER hold AFTER UPDATE ON watermark DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION hold()""")
    connection = await store.pool.acquire()
    await connection.execute("SELECT pg_advisory_lock($1)", HOLD)
    return connection


async def _blocked_sessions(store: Store) -> int:
    """Sessions of this database that wait for a lock."""
    return int(
        await store.value(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
            "WHERE NOT granted AND datname = current_database()"
        )
    )


async def test_records_become_rows_and_receipts_and_offsets_follow(
    process: Process, topic: Topic, store: Store
) -> None:
    members = [Member() for _ in range(40)]
    await topic.send(m.projection(1, processed=True) for m in members)
    await process.start()
    await _rows(store, 40)
    await topic.send(m.stop("sharing_revoked", 2, "recipient") for m in members[:10])
    await topic.send(m.projection(2) for m in members[10:])
    await _rows(store, 30)
    await until(lambda: store.value("SELECT sum(seq) FROM member"), 60)
    receipts = await topic.read(RECEIPTS, 80)
    assert {r.key.decode() for r in receipts} == {m.ref for m in members}
    await until(topic.committed, 80)
    assert (await process.health("/livez")).status_code == 200
    assert (await process.health("/readyz")).json() == {"ready": True, "failed": []}
    metrics = (await process.health("/metrics")).text
    assert 'dongui_propagator_records_total{affiliate="tmax-os",result="applied"} 80.0' in metrics
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0


@pytest.mark.f(2)
async def test_a_kill_between_commit_and_acknowledgement_doubles_nothing(
    process: Process, topic: Topic, store: Store
) -> None:
    """The server commits while the process is frozen: it never hears of it, acknowledges nothing, and dies."""
    members = [Member() for _ in range(30)]
    await topic.send((m.projection(1) for m in members), partition=3)
    holding = await _hold_commits(store)
    await process.start()
    await until(lambda: _blocked_sessions(store), 1)
    process.freeze()
    await holding.execute("SELECT pg_advisory_unlock($1)", HOLD)
    await _rows(store, 30)
    process.signal(signal.SIGKILL)
    assert await process.ended() == KILLED
    assert await topic.committed() == 0
    before = await store.snapshot()
    await process.start()
    await until(topic.committed, 30)
    assert await store.snapshot() == before
    assert sorted(await store.receipts()) == sorted((m.changes[0], "applied") for m in members)
    assert len(await topic.read(RECEIPTS, 30)) == 30


@pytest.mark.f(3)
async def test_a_stop_with_a_batch_in_flight_ends_soon_and_acknowledges_nothing(
    process: Process, topic: Topic, store: Store
) -> None:
    members = [Member() for _ in range(5)]
    async with store.pool.acquire() as connection:
        blocking = connection.transaction()
        await blocking.start()
        await connection.execute("LOCK TABLE watermark IN SHARE ROW EXCLUSIVE MODE")
        await topic.send(m.projection(1) for m in members)
        await process.start()
        await until(lambda: _blocked_sessions(store), 1)
        process.signal(signal.SIGTERM)
        assert await process.ended(timeout_s=10) in {0, 71}
        assert await topic.committed() == 0
        await blocking.rollback()
    assert await store.value("SELECT count(*) FROM member") == 0
    await process.start()
    await _rows(store, 5)
    await until(topic.committed, 5)


@pytest.mark.f(5)
async def test_a_database_that_was_away_is_drained_without_help(
    process: Process, topic: Topic, store: Store, databases: Any
) -> None:
    members = [Member() for _ in range(60)]
    await topic.send(m.projection(1) for m in members[:20])
    await process.start()
    await _rows(store, 20)
    async with databases.blocked(AFFILIATE):
        await topic.send(m.projection(1) for m in members[20:])
        await topic.send(m.projection(2) for m in members)
        await asyncio.sleep(3)
        assert (await process.health("/readyz")).status_code == 503
        assert (await process.health("/livez")).status_code == 200
    await until(lambda: store.value("SELECT coalesce(sum(seq), 0) FROM member"), 120)
    assert "process_left" not in process.events()
    assert await store.gaps() == []
    assert len(await store.receipts()) == 120


async def test_a_database_that_is_away_at_the_start_is_waited_for(
    process: Process, topic: Topic, store: Store, databases: Any
) -> None:
    async with databases.blocked(AFFILIATE):
        await process.start()
        await topic.send([Member().projection(1)])
        await until(_logs(process, "database_away"), True)
    await _rows(store, 1)


def _logs(process: Process, event: str) -> Any:
    async def seen() -> bool:
        return event in process.events()

    return seen


@pytest.mark.f(1, 33)
async def test_the_key_service_down_holds_projections_back_and_loses_none(
    process: Process, topic: Topic, store: Store, keys: KeyService
) -> None:
    keys.status = 503
    stopped, waiting = Member(), [Member() for _ in range(10)]
    await topic.send([stopped.stop("withdrawn", 1, "recipient")], partition=0)
    await process.start()
    await _rows(store, 1)
    await topic.send((m.projection(1) for m in waiting), partition=1)
    await until(_logs(process, "apply_failed"), True)
    assert await topic.committed() <= 1
    keys.status = 200
    await _rows(store, 11)
    await until(topic.committed, 11)


@pytest.mark.f(9)
async def test_poison_leaves_to_the_dead_letter_topic_and_holds_nobody_up(
    process: Process, topic: Topic, store: Store
) -> None:
    bad, good = Member(), Member()
    stop, projection = bad.stop("suspended", 1, "recipient"), bad.projection(2)
    poison = [
        changed(stop, value=b"not json"),
        changed(stop, headers={"ce_type": "kr.dongui.member.moved.v1"}),
        changed(stop, value=None),
        changed(projection, value=(projection.value or b"")[:-3] + b"AAA"),
        changed(stop, headers={"ce_subject": good.ref}),
    ]
    await topic.send([good.projection(1), *poison, good.projection(2)], partition=2)
    await process.start()
    await until(lambda: store.value("SELECT max(seq) FROM member"), 2)
    letters = await topic.read(dlq_of(TOPIC), 5)
    codes = {dict(letter.headers)["dongui-error"] for letter in letters}
    assert codes == {b"bad_json", b"unknown_type", b"null_value", b"wrong_key", b"header_mismatch"}
    assert [letter.value for letter in letters] == [p.value or b"" for p in poison]
    await until(topic.committed, 7)
    log = process._log.read_bytes()
    assert b"example.com" not in log
    assert "김하나".encode() not in log


async def test_a_suppression_is_known_before_the_first_record_is_applied(
    process: Process, topic: Topic, store: Store
) -> None:
    gone, here = Member(), Member()
    await topic.suppress(gone.ref)
    await topic.send([gone.projection(1), here.projection(1)], partition=0)
    await process.start()
    await until(topic.committed, 2)
    assert await store.value("SELECT array_agg(member_ref) FROM member") == [here.ref]
    assert await store.receipts() == [(gone.changes[0], "skipped_destroyed"), (here.changes[0], "applied")]
    await topic.suppress(here.ref)
    await _rows(store, 0)


@pytest.mark.f(2)
async def test_kills_at_any_moment_end_in_the_same_store_and_one_answer_per_change(
    process: Process, topic: Topic, store: Store
) -> None:
    members = [Member() for _ in range(100)]
    await process.start()
    for seq in range(1, 6):
        await topic.send(m.projection(seq, processed=True) for m in members)
        await asyncio.sleep(0.2 * seq)
        process.signal(signal.SIGKILL)
        assert await process.ended() == KILLED
        assert await topic.committed() <= len(await store.receipts())
        await process.start()
    await until(lambda: store.value("SELECT sum(seq) FROM member"), 500, timeout_s=60)
    await until(topic.committed, 500)
    assert await store.gaps() == []
    receipts = await store.receipts()
    assert sorted(receipts) == sorted((c, "applied") for m in members for c in m.changes)

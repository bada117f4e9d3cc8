"""A paused affiliate: stop records are applied at once, sealed states wait as they came, and nothing is lost after."""

from typing import Any

import orjson

from services.propagator import parking
from services.propagator.handlers import Propagator
from services.runtime.clock import utc_now
from tests.integration.propagator.harness import AFFILIATE, KeyService, Member, Process, Store, Topic, numbered, until


async def switch(propagator: Propagator, verb: Any) -> bool:
    async with propagator.pool.acquire() as tx, tx.transaction():
        return bool(await verb(tx, AFFILIATE, "sre.kim", utc_now()))


async def test_a_pause_parks_states_and_never_holds_a_stop(propagator: Propagator, store: Store) -> None:
    kept, revoked = Member(), Member()
    await propagator.apply(numbered([kept.projection(1), revoked.projection(1)]))
    assert await switch(propagator, parking.pause)
    assert not await switch(propagator, parking.pause)
    late = [kept.projection(2), revoked.projection(2), revoked.stop("sharing_revoked", 3, "recipient")]
    await propagator.apply(numbered(late))
    await propagator.apply(numbered(late))
    assert (await store.member(kept.ref) or {})["seq"] == 1
    assert await store.member(revoked.ref) is None
    assert await store.gaps() == [(1, 2)]
    assert await propagator.unpark() == 0
    assert await switch(propagator, parking.resume)
    assert await propagator.unpark() == 2
    assert (await store.member(kept.ref) or {})["seq"] == 2
    assert await store.member(revoked.ref) is None
    assert await store.gaps() == []
    assert await store.value("SELECT count(*) FROM parked") == 0
    told = [stage for change, stage in await _receipts(store) if change in {*kept.changes, *revoked.changes}]
    assert sorted(told) == ["applied", "applied", "applied", "applied", "superseded"]


async def _receipts(store: Store) -> list[tuple[str, str]]:
    rows = await store.pool.fetch("SELECT payload FROM outbox WHERE type = 'kr.dongui.receipt.v1'")
    return [(r["change_id"], r["stage"]) for r in (orjson.loads(row["payload"]) for row in rows)]


async def test_what_is_parked_needs_no_key_and_is_skipped_once_it_is_destroyed(
    propagator: Propagator, store: Store, keys: KeyService
) -> None:
    member = Member()
    await switch(propagator, parking.pause)
    keys.status = 503
    await propagator.apply(numbered([member.projection(1)]))
    keys.status, keys.destroyed = 200, {member.ref}
    await switch(propagator, parking.resume)
    await propagator.unpark()
    assert await store.member(member.ref) is None
    assert [stage for _, stage in await _receipts(store)] == ["skipped_destroyed"]


async def test_a_process_takes_out_what_was_parked_when_the_pause_ends(
    propagator: Propagator, store: Store, topic: Topic, process: Process
) -> None:
    member = Member()
    await switch(propagator, parking.pause)
    await process.start()
    try:
        await topic.send([member.projection(1), member.projection(2)])
        await until(lambda: store.value("SELECT count(*) FROM parked"), 2)
        assert await store.member(member.ref) is None
        await switch(propagator, parking.resume)
        await until(lambda: store.value("SELECT seq FROM member WHERE member_ref = $1", member.ref), 2)
        await until(lambda: store.value("SELECT count(*) FROM parked"), 0)
    finally:
        await process.stop()

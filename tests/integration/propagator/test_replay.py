"""A run of a replay on a real topic and store: bounded, stopped, gone on with, harmless, and what it heals."""

import asyncio
import time
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from services.propagator.handlers import Propagator
from services.propagator.replay import executor, reader
from services.propagator.replay.executor import CancelledReplayError, Executor, Progress
from services.propagator.replay.plan import Plan, Range, Selection, Share
from services.propagator.replay.reader import SourceLostError
from services.runtime import kafka
from services.runtime.clock import utc_now
from services.runtime.settings import Settings
from tests.integration.propagator.harness import AFFILIATE, TOPIC, Member, Sent, Store, Topic

NOTHING = executor.leaves(())


async def plan_of(settings: Settings, topic: Topic, *, rate: int = 100_000) -> Plan:
    """Everything that is on the topic now."""
    async with kafka.consuming(settings) as consumer:
        ends = await consumer.end_offsets([TopicPartition(topic.name, p) for p in range(8)])
    ranges = tuple(Range(partition=p.partition, start=0, end=end, first=0) for p, end in ends.items())
    return Plan(
        plan_id="01a20ff2-3efa-7672-94f5-420dd68eba32",
        planned_at=utc_now(),
        reason="test",
        source="kafka",
        selection=Selection(affiliates=(AFFILIATE,)),
        rate=rate,
        shares=(Share(affiliate=AFFILIATE, topic=TOPIC, ranges=ranges),),
        estimated_s=0,
        not_sent={},
    )


class Heard:
    """Takes reports; stops the run once `until` offsets are done."""

    def __init__(self, until: int | None = None) -> None:
        self.until = until
        self.last: Progress | None = None

    async def __call__(self, progress: Progress) -> None:
        self.last = progress
        if self.until is not None and progress.done >= self.until:
            raise CancelledReplayError


async def run(settings: Settings, plan: Plan, store: Propagator, heard: Heard, resume: Any = None) -> Progress:
    async def opened(_: str) -> Propagator:
        return store

    return await Executor(settings, plan, heard, resume or {}).run(opened)


def without_answers(propagator: Propagator) -> Propagator:
    return Propagator(propagator.affiliate, propagator.pool, propagator.keys, utc_now, leaves=NOTHING)


def histories(count: int) -> tuple[list[Member], list[Sent]]:
    members = [Member() for _ in range(count)]
    return members, [m.projection(seq) for seq in (1, 2, 3) for m in members]


async def test_a_stopped_run_goes_on_where_it_was_and_ends_in_the_same_store(
    settings: Settings, topic: Topic, propagator: Propagator, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, sent = histories(20)
    await topic.send(sent)
    monkeypatch.setattr(executor, "REPORT_S", 0.0)
    monkeypatch.setattr(reader, "BATCH_MAX", 15)
    quiet, plan, heard = without_answers(propagator), await plan_of(settings, topic), Heard(until=20)
    with pytest.raises(CancelledReplayError):
        await run(settings, plan, quiet, heard)
    assert heard.last is not None
    assert 20 <= heard.last.done < plan.total == 60
    rest = Heard()
    ended = await run(settings, plan, quiet, rest, heard.last.positions)
    assert ended.done == 60
    assert await store.value("SELECT count(*) FROM member WHERE seq = 3") == len(members)
    assert await store.gaps() == []
    assert await store.value("SELECT count(*) FROM outbox") == 0, "nothing leaves that was not asked for"


async def test_partitions_are_read_side_by_side_and_each_ends_where_the_plan_says(
    settings: Settings, topic: Topic, propagator: Propagator, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long, late = Member(), Member(), Member()
    await topic.send([short.projection(1)], partition=2)
    await topic.send([long.projection(seq) for seq in (1, 2, 3, 4, 5)], partition=5)
    plan = await plan_of(settings, topic)
    await topic.send([short.projection(2), late.projection(1)], partition=2)
    await topic.send([long.projection(6)], partition=5)
    monkeypatch.setattr(reader, "BATCH_MAX", 2)
    ended = await run(settings, plan, without_answers(propagator), Heard())
    assert (ended.positions[f"{AFFILIATE}/2"], ended.positions[f"{AFFILIATE}/5"], ended.done) == (1, 5, 6)
    held = await store.pool.fetch("SELECT member_ref, seq FROM member ORDER BY seq")
    assert [tuple(row) for row in held] == [(short.ref, 1), (long.ref, 5)]


@pytest.mark.f(20)
async def test_a_replay_again_changes_not_one_byte(
    settings: Settings, topic: Topic, propagator: Propagator, store: Store
) -> None:
    _, sent = histories(5)
    await topic.send(sent)
    plan = await plan_of(settings, topic)
    await run(settings, plan, propagator, Heard())
    before = await store.pool.fetch("SELECT xmin, t.* FROM member t ORDER BY member_ref")
    receipts = await store.value("SELECT count(*) FROM outbox")
    assert receipts == len(sent)
    await run(settings, plan, propagator, Heard())
    assert await store.pool.fetch("SELECT xmin, t.* FROM member t ORDER BY member_ref") == before
    assert await store.value("SELECT count(*) FROM outbox") == receipts


async def test_a_record_the_store_lost_closes_its_gap_and_is_answered_only_when_that_is_asked_for(
    settings: Settings, topic: Topic, propagator: Propagator, store: Store
) -> None:
    member = Member()
    sent = [member.projection(1), member.projection(2), member.projection(3)]
    await topic.send(sent)
    await without_answers(propagator).apply([s.consumed(i) for i, s in enumerate(sent) if i != 1])
    assert await store.gaps() == [(1, 2)]
    plan = await plan_of(settings, topic)
    await run(settings, plan, without_answers(propagator), Heard())
    assert await store.gaps() == []
    assert await store.receipts() == []


async def test_a_run_is_no_faster_than_its_rate(
    settings: Settings, topic: Topic, propagator: Propagator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, sent = histories(20)
    await topic.send(sent)
    started = time.monotonic()
    await run(settings, await plan_of(settings, topic, rate=40), without_answers(propagator), Heard())
    assert time.monotonic() - started >= 1.0


async def retention_passes(settings: Settings, topic: Topic, partition: int, offset: int) -> None:
    """Make this the first offset that is left of a partition."""
    admin = AIOKafkaAdminClient(**kafka.client_options(settings))
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic.name, partition): RecordsToDelete(offset)})
    finally:
        await admin.close()


async def test_what_retention_took_after_the_plan_was_made_is_not_skipped_in_silence(
    settings: Settings, topic: Topic, propagator: Propagator, store: Store
) -> None:
    _, sent = histories(2)
    await topic.send(sent, partition=3)
    plan = await plan_of(settings, topic)
    await retention_passes(settings, topic, 3, 4)
    heard = Heard()
    with pytest.raises(SourceLostError, match=f"^{topic.name}/3 at 0$"):
        await run(settings, plan, without_answers(propagator), heard)
    assert heard.last is not None
    assert (heard.last.done, heard.last.total) == (0, 6)
    assert await store.value("SELECT count(*) FROM member") == 0
    place = f"{AFFILIATE}/3"
    ended = await run(settings, plan, without_answers(propagator), heard, {place: 4})
    assert (ended.done, ended.positions[place]) == (6, 6), "what is left is read as ever"


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_how_fast_history_is_read_again(
    settings: Settings, topic: Topic, propagator: Propagator, store: Store
) -> None:
    members = [Member() for _ in range(5000)]
    for seq in (1, 2, 3, 4):
        await topic.send([m.projection(seq) for m in members])
    plan, quiet = await plan_of(settings, topic), without_answers(propagator)
    quick = settings.model_copy(update={"affiliate_batch_max": 500})
    for what in ("new", "seen before"):
        ended = await run(quick, plan, quiet, Heard())
        print(f"{what}: {ended.per_s:.0f} records/s of {plan.total}")
        await asyncio.sleep(0)
    assert await store.value("SELECT count(*) FROM member WHERE seq = 4") == len(members)

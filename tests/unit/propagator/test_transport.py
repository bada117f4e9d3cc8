"""The batch transport's own book: what may be committed is the acknowledged prefix of applied batches, nothing else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import faust
import pytest
from aiokafka import ConsumerRecord
from faust.exceptions import AlreadyConfiguredWarning
from faust.types import TP

from services.propagator import agents, transport
from services.propagator.agents import UnsafeAppError
from services.propagator.transport import Batch, BatchConsumer, ProducerForbiddenError
from services.runtime.kafka import InsecureKafkaError
from services.runtime.settings import Settings

TOPIC = "dongui.affiliate.tmax-os.v1"
ONE, TWO = TP(TOPIC, 1), TP(TOPIC, 2)


class LeftError(Exception):
    """Stands for the end of the process."""


async def nothing(_: Any) -> None:
    """Apply nothing."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(profile="dev", kafka="127.0.0.1:9092,127.0.0.1:9094", topic_prefix="t-", data_dir=tmp_path)


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[faust.App]:
    made = agents.create(settings, app_id="dongui-propagator-tmax-os", topic=TOPIC, apply=nothing)
    yield made
    if made._consumer is not None:
        made._consumer._thread.thread_loop.close()  # Faust opens it before the thread starts; ours never does


@pytest.fixture
async def consumer(app: faust.App, monkeypatch: pytest.MonkeyPatch) -> BatchConsumer:
    def leave(code: int, why: str, **_: Any) -> None:
        raise LeftError(code, why)

    monkeypatch.setattr(transport, "leave", leave)
    made = app.consumer
    made._expected.update({ONE: 10, TWO: 0})
    made._done.update({ONE: 10, TWO: 0})
    made._stored.update({ONE: 10, TWO: 0})
    return made


def batch(consumer: BatchConsumer, tp: TP, first: int, last: int) -> Any:
    """A delivered batch of the records first..last."""
    records = [
        ConsumerRecord(tp.topic, tp.partition, o, 0, 0, b"k", b"v", None, 1, 1, ()) for o in range(first, last + 1)
    ]
    message = consumer._to_message(tp, Batch(records))
    assert consumer._track(message)
    return message


def applied(consumer: BatchConsumer, message: Any) -> None:
    message.value.applied = True
    assert consumer.ack(message)


def committable(consumer: BatchConsumer) -> dict[TP, int]:
    return consumer._filter_committable_offsets(consumer._filter_tps_with_pending_acks())


@pytest.mark.f(1, 11)
async def test_the_committed_offset_is_the_end_of_the_acknowledged_prefix(consumer: BatchConsumer) -> None:
    first, second, third = (batch(consumer, ONE, 10 * i, 10 * i + 9) for i in (1, 2, 3))
    applied(consumer, second)
    assert committable(consumer) == {}
    applied(consumer, first)
    assert committable(consumer) == {ONE: 30}
    applied(consumer, third)
    assert committable(consumer) == {ONE: 40}
    assert consumer.positions == {ONE: 40, TWO: 0}


async def test_partitions_are_booked_apart(consumer: BatchConsumer) -> None:
    batch(consumer, ONE, 10, 19)
    applied(consumer, batch(consumer, TWO, 0, 4))
    assert committable(consumer) == {TWO: 5}


@pytest.mark.f(1)
async def test_an_acknowledgement_of_what_was_not_applied_is_refused(consumer: BatchConsumer) -> None:
    """This is what Faust does by itself when an agent raises, and what `take()` does in any case."""
    message = batch(consumer, ONE, 10, 19)
    assert not consumer.ack(message)
    assert committable(consumer) == {}


@pytest.mark.f(11)
async def test_a_hole_in_the_offsets_ends_the_process(consumer: BatchConsumer) -> None:
    with pytest.raises(LeftError):
        batch(consumer, ONE, 11, 12)


async def test_records_read_again_are_no_hole(consumer: BatchConsumer) -> None:
    applied(consumer, batch(consumer, ONE, 10, 19))
    applied(consumer, batch(consumer, ONE, 10, 12))
    assert committable(consumer) == {ONE: 20}


@pytest.mark.f(8)
async def test_a_batch_of_a_revoked_partition_is_neither_delivered_nor_committed(consumer: BatchConsumer) -> None:
    message = batch(consumer, ONE, 10, 19)
    consumer._forget([ONE])
    late = consumer._to_message(ONE, message.value)
    assert not consumer._track(late)
    applied(consumer, message)
    assert committable(consumer) == {}


@pytest.mark.f(12)
async def test_a_commit_that_failed_is_tried_again(consumer: BatchConsumer, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, True])

    async def commit(_: Any) -> bool:
        return next(answers)

    monkeypatch.setattr(consumer._thread, "commit", commit)
    applied(consumer, batch(consumer, ONE, 10, 19))
    assert not await consumer._commit(committable(consumer))
    assert committable(consumer) == {ONE: 20}
    assert await consumer._commit(committable(consumer))
    assert committable(consumer) == {}


async def test_fausts_producer_sends_nothing(app: faust.App) -> None:
    with pytest.raises(ProducerForbiddenError):
        await app.producer.send("t", b"k", b"v", None, None, None)
    with pytest.raises(ProducerForbiddenError):
        await app.producer.send_and_wait("t", b"k", b"v", None, None, None)


async def test_group_and_brokers_are_those_of_the_settings(app: faust.App) -> None:
    assert app.conf.id == "t-dongui-propagator-tmax-os"
    assert [url.host_port_subcomponent for url in app.conf.broker_consumer] == ["127.0.0.1:9092", "127.0.0.1:9094"]


@pytest.mark.f(34)
async def test_plaintext_is_refused_outside_development(settings: Settings) -> None:
    with pytest.raises(InsecureKafkaError):
        agents.create(settings.model_copy(update={"profile": "production"}), app_id="x", topic=TOPIC, apply=nothing)


BAD: dict[str, dict[str, Any]] = {
    "processing_guarantee": {"processing_guarantee": "exactly_once"},
    "stream_wait_empty": {"stream_wait_empty": True},
    "broker (the batch transport)": {"broker_consumer": "kafka://127.0.0.1:9092"},
    "broker_producer (the batch transport)": {"broker_producer": "kafka://127.0.0.1:9092"},
    "broker_max_poll_interval": {"broker_max_poll_interval": 1000.0},
    "web_enabled": {"web_enabled": True},
    "topic_allow_declare": {"topic_allow_declare": True},
    "topic_disable_leader": {"topic_disable_leader": False},
}


@pytest.mark.f(4)
@pytest.mark.parametrize("name", BAD)
async def test_unsafe_settings_are_refused_at_the_start(app: faust.App, name: str) -> None:
    for setting, value in BAD[name].items():
        with pytest.warns(AlreadyConfiguredWarning):
            setattr(app.conf, setting, value)
    with pytest.raises(UnsafeAppError, match=name.partition(" ")[0]):
        agents.guard(app)


@pytest.mark.f(4)
async def test_a_second_concurrent_actor_a_table_a_sink_or_fausts_own_decoding_is_refused(app: faust.App) -> None:
    (agent,) = app.agents.values()
    agent.concurrency = 2
    with pytest.raises(UnsafeAppError, match="concurrency"):
        agents.guard(app)
    agent.concurrency = 1
    agent.add_sink(app.topic("elsewhere"))
    with pytest.raises(UnsafeAppError, match="sinks"):
        agents.guard(app)
    agent._sinks.clear()
    agents.guard(app)
    app.agent(app.topic("other"), name="other")(nothing)
    with pytest.raises(UnsafeAppError, match="schema"):
        agents.guard(app)


@pytest.mark.f(4)
async def test_a_table_is_refused(app: faust.App) -> None:
    app.Table("counts", default=int)
    with pytest.raises(UnsafeAppError, match="tables"):
        agents.guard(app)


@pytest.mark.f(1)
async def test_a_batch_is_cut_applied_again_after_an_error_and_only_then_marked(
    app: faust.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "BACKOFF_S_MIN", 0.001)
    seen: list[list[int]] = []

    async def apply(records: Any) -> None:
        seen.append(list(records))
        if len(seen) == 2:
            raise OSError

    made: Any = Batch([1, 2, 3, 4, 5])
    await agents._apply_all(app, apply, [made], 2)
    assert seen == [[1, 2], [3, 4], [3, 4], [5]]
    assert made.applied


async def test_what_waits_is_applied_together_and_acknowledged_in_the_order_it_came(app: faust.App) -> None:
    seen: list[list[int]] = []
    acknowledged: list[tuple[str, bool]] = []

    class Event:
        def __init__(self, name: str, records: list[int]) -> None:
            self.name, self.value = name, Batch(records)  # type: ignore[arg-type]

        def ack(self) -> None:
            acknowledged.append((self.name, self.value.applied))

    async def apply(records: Any) -> None:
        seen.append(list(records))
        if len(seen) == 1:
            for name, more in (("b", [2, 3]), ("c", [4])):
                await taken.put(Event(name, more))

    taken: asyncio.Queue[Any] = asyncio.Queue()
    await taken.put(Event("a", [1]))
    worker = asyncio.create_task(agents._work(app, apply, taken, 100))
    async with asyncio.timeout(5):
        while len(acknowledged) < 3:
            await asyncio.sleep(0.01)
    worker.cancel()
    assert seen == [[1], [2, 3, 4]]
    assert acknowledged == [("a", True), ("b", True), ("c", True)]


@pytest.mark.f(1)
async def test_when_the_budget_is_spent_the_process_is_left_and_nothing_is_marked(
    app: faust.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(code: int, why: str) -> None:
        raise LeftError(code, why)

    async def apply(_: Any) -> None:
        raise OSError

    monkeypatch.setattr(transport, "leave", leave)
    monkeypatch.setattr(agents, "RETRY_BUDGET_S", -1.0)
    made: Any = Batch([1])
    with pytest.raises(LeftError) as left:
        await agents._apply_all(app, apply, [made], 2)
    assert left.value.args == (71, "retry_budget_spent")
    assert not made.applied

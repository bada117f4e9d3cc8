"""The largest poison: what the broker takes is dead-lettered without its value, what is larger is never taken."""

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from schemas.topics import dlq_of
from services.runtime.dead_letter import OMITTED_HEADER
from tests.integration.propagator.harness import TOPIC, Member, Process, Store, Topic, changed, until


@pytest.mark.f(9)
async def test_the_largest_record_the_broker_takes_is_dead_lettered_and_holds_nobody_up(
    process: Process, topic: Topic, store: Store
) -> None:
    bad, good = Member(), Member()
    size = 1_040_000  # what a producer of ours may send at most is 1 MiB, headers included
    await topic.send([changed(bad.projection(1), value=b"x" * size), good.projection(1)], partition=5)
    with pytest.raises(MessageSizeTooLargeError):
        await topic.send([changed(bad.projection(2), value=b"x" * 2 * 2**20)], partition=5)
    await process.start()
    await until(topic.committed, 2)
    assert await store.value("SELECT count(*) FROM member") == 1
    (letter,) = await topic.read(dlq_of(TOPIC), 1)
    told = dict(letter.headers)
    assert (told["dongui-error"], told[OMITTED_HEADER], letter.value) == (b"bad_jwe", str(size).encode(), b"")

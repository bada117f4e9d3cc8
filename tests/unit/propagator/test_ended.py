"""A process whose part failed leaves with the status that means: start me again; nothing more is acknowledged."""

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError
from structlog.testing import capture_logs

from services.propagator import agents


async def test_a_broker_that_goes_away_while_faust_starts_is_no_crash() -> None:
    async def starts() -> None:
        raise KafkaConnectionError

    async def works() -> None:
        await asyncio.sleep(0)

    tasks = [asyncio.create_task(one()) for one in (starts, works)]
    with capture_logs() as lines, pytest.raises(AssertionError, match="gave up with status 71"):
        await agents.ended(tasks, asyncio.Event(), 1)
    (line,) = lines
    assert (line["event"], line["why"], line["errors"]) == ("process_left", "task_failed", ["KafkaConnectionError"])


async def test_who_does_not_stop_in_time_is_left() -> None:
    hangs, stop = asyncio.create_task(asyncio.sleep(60)), asyncio.Event()
    stop.set()
    with capture_logs() as lines, pytest.raises(AssertionError, match="gave up with status 71"):
        await agents.ended([hangs], stop, 0.01)
    hangs.cancel()
    assert lines[0]["why"] == "stop_took_too_long"


async def test_an_orderly_end_is_one() -> None:
    stop = asyncio.Event()
    await agents.ended([asyncio.create_task(asyncio.sleep(0))], stop, 1)
    assert stop.is_set(), "the end of one part is the end of all"

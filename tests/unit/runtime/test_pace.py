"""A quiet stream waits for nothing; a busy one takes its turns an interval apart. Time is the event loop's own."""

import asyncio
from typing import Any

from services.runtime.pace import Pace


class Slept(list[float]):
    """The seconds asked of `asyncio.sleep`, each of which passes at once on the loop's clock."""


def turns(monkeypatch: Any, works: list[float]) -> Slept:
    """Take a turn, work so long, take the next; return what was slept between.

    In a loop of its own: on the tests' common one a background task would find that sleeping takes no time, and spin.
    """
    slept, now, loop = Slept(), [100.0], asyncio.new_event_loop()

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        now[0] += seconds

    async def work() -> None:
        pace = Pace(0.05)
        for seconds in works:
            await pace.turn()
            now[0] += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(loop, "time", lambda: now[0], raising=False)
    try:
        loop.run_until_complete(work())
    finally:
        loop.close()
    return slept


def test_the_first_turn_and_one_after_a_pause_come_at_once(monkeypatch: Any) -> None:
    assert turns(monkeypatch, [0.2, 0.2, 0.2]) == []


def test_turns_in_a_hurry_are_an_interval_apart(monkeypatch: Any) -> None:
    assert turns(monkeypatch, [0.01, 0.02, 0.0]) == [0.04, 0.03]

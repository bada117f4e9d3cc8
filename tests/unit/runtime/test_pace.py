"""A quiet stream waits for nothing; a busy one takes its turns an interval apart. Time is the event loop's own."""

import asyncio
from typing import Any

from services.runtime.pace import Pace


class Slept(list[float]):
    """The seconds asked of `asyncio.sleep`, each of which passes at once on the loop's clock."""


async def turns(monkeypatch: Any, works: list[float]) -> Slept:
    """Take a turn, work so long, take the next; return what was slept between."""
    slept, now = Slept(), [100.0]

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        now[0] += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0], raising=False)
    pace = Pace(0.05)
    for seconds in works:
        await pace.turn()
        now[0] += seconds
    return slept


async def test_the_first_turn_and_one_after_a_pause_come_at_once(monkeypatch: Any) -> None:
    assert await turns(monkeypatch, [0.2, 0.2, 0.2]) == []


async def test_turns_in_a_hurry_are_an_interval_apart(monkeypatch: Any) -> None:
    assert await turns(monkeypatch, [0.01, 0.02, 0.0]) == [0.04, 0.03]

"""Members that live at a rate, and when each of their changes was accepted."""

import asyncio
import random
import time
from typing import Any

from tests.support.driver import Driver
from tests.support.expected import Expected, Person

LATE_MAX_S = 5.0


class Timed(Expected):
    """What HTTP accepted, with the instant (monotonic seconds) of each answer, and which were revocations."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[str, float] = {}
        self.revocations: set[str] = set()

    def accept(self, person: Person, answer: dict[str, Any]) -> None:
        """Note an accepted change."""
        super().accept(person, answer)
        self.at[answer["change_id"]] = time.monotonic()

    def last(self) -> str:
        """The change that was accepted last."""
        return next(reversed(self.at))


class Liver(Driver):
    """A driver that knows its revocations: sharing taken back, and leaving."""

    def __init__(self, url: str, token: str, seed: int, expected: Timed) -> None:
        super().__init__(url, token, seed, expected)
        self.timed = expected

    async def share(self, person: Person) -> None:
        """Give or take back sharing."""
        before = len(person.sharing)
        await super().share(person)
        if len(person.sharing) < before:
            self._revoked(person)

    async def leave(self, person: Person) -> None:
        """Leave, perhaps after all not."""
        await super().leave(person)
        if person.status == "withdrawn":
            self._revoked(person)

    def _revoked(self, person: Person) -> None:
        mine = [c for c, (ref, seq) in self.timed.changes.items() if ref == person.ref and seq == person.seq]
        self.timed.revocations.update(mine)


class Load:
    """`rate` changes a second by several drivers; who falls behind while nothing answers does not make up for it."""

    def __init__(self, url: str, token: str, seed: int, rate: float) -> None:
        self.expected = Timed()
        count = max(2, round(rate / 2))
        self.drivers = [Liver(url, token, seed * 1000 + n, self.expected) for n in range(count)]
        self._every_s = count / rate
        self._dice = random.Random(f"load {seed}")
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Send commands until `stop`."""
        try:
            await asyncio.gather(*(self._live(one, self._dice.random()) for one in self.drivers))
        finally:
            await asyncio.gather(*(one.close() for one in self.drivers))

    def stop(self) -> None:
        """Let each driver finish the command it is at."""
        self._stopped.set()

    async def _live(self, driver: Liver, offset: float) -> None:
        due = time.monotonic() + offset * self._every_s
        while not self._stopped.is_set():
            now = time.monotonic()
            await asyncio.sleep(max(0.0, due - now))
            await driver.live(1)
            due = max(due + self._every_s, time.monotonic() - LATE_MAX_S)

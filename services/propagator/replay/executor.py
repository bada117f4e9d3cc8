"""Runs a plan: reads its ranges at its rate into a store, reports how far it is, stops when it was cancelled."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from aiokafka import AIOKafkaConsumer

from schemas.topics import RECEIPTS
from services.propagator.handlers import Propagator
from services.propagator.replay import plan as plans
from services.propagator.replay import reader
from services.propagator.replay.plan import Effect, Plan, Share
from services.runtime import tracing
from services.runtime.outbox import Record
from services.runtime.settings import Settings

REPORT_S: Final = 1.0


class CancelledReplayError(Exception):
    """Somebody cancelled it; what was applied until then stays, and changes nothing when it is applied again."""


@dataclass(frozen=True)
class Progress:
    """How far a replay is: offsets read of all, where to go on by `affiliate/partition`, and how fast it runs."""

    done: int
    total: int
    positions: Mapping[str, int]
    per_s: float

    @property
    def eta_s(self) -> float | None:
        """Seconds that are left at this pace; None while it is not known."""
        return (self.total - self.done) / self.per_s if self.per_s else None


class Reports(Protocol):
    """Takes the progress; raises CancelledReplayError to stop."""

    async def __call__(self, progress: Progress) -> None: ...


def leaves(effects: tuple[Effect, ...]) -> Callable[[Record], bool]:
    """Return which answers may leave a store under these effects; without any, none."""

    def may(record: Record) -> bool:
        return ("receipts" if record.topic == RECEIPTS else "dead-letters") in effects

    return may


class Executor:
    """Runs one plan. `resume` is where an earlier run of it had come to, by `affiliate/partition`."""

    def __init__(self, settings: Settings, plan: Plan, reports: Reports, resume: Mapping[str, int]) -> None:
        self._settings = settings
        self._plan = plan
        self._reports = reports
        self._positions = {
            (place := _place(share, part.partition)): max(part.start, min(part.end, resume.get(place, part.start)))
            for share in plan.shares
            for part in share.ranges
        }
        self._skipped = self._done()
        self._started = self._reported = time.monotonic()

    async def run(self, open_store: Callable[[str], Awaitable[Propagator]]) -> Progress:
        """Apply everything that is left. Raises CancelledReplayError, SourceLostError, KeyServiceError."""
        await self._reports(self.progress())
        for share in self._plan.shares:
            store = await open_store(share.affiliate)
            async with reader.consuming(self._settings) as consumer:
                await self._apply(consumer, store, share)
        return self.progress()

    def progress(self) -> Progress:
        """Return how far it is now."""
        done, took_s = self._done(), time.monotonic() - self._started
        return Progress(done, self._plan.total, dict(self._positions), (done - self._skipped) / took_s if took_s else 0)

    async def _apply(self, consumer: AIOKafkaConsumer, store: Propagator, share: Share) -> None:
        rest = [
            part.model_copy(update={"start": self._positions[_place(share, part.partition)]}) for part in share.ranges
        ]
        topic = self._settings.topic_prefix + share.topic
        async for records, passed in reader.read(consumer, topic, rest, self._plan.rate):
            if wanted := [r for r in records if plans.selects(self._plan.selection, r)]:
                with tracing.processing(wanted, f"replay-{share.affiliate}", again=True):
                    await store.apply(wanted)
            self._positions |= {_place(share, partition): at for partition, at in passed.items()}
            if time.monotonic() - self._reported >= REPORT_S:
                self._reported = time.monotonic()
                await self._reports(self.progress())

    def _done(self) -> int:
        starts = {_place(s, p.partition): p.start for s in self._plan.shares for p in s.ranges}
        return sum(position - starts[place] for place, position in self._positions.items())


def _place(share: Share, partition: int) -> str:
    return f"{share.affiliate}/{partition}"

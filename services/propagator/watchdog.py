"""Liveness tied to progress: records wait and none is acknowledged -> not live, and in the end no longer running.

Faust's own detectors only log. The lag is asked for by a client of its own: a consumer that is stuck would say
that all is well. So would one that owns nothing: Faust leaves out a topic that a broker which just came back has not
named yet, and never looks again.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

import faust
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import Gauge

from services.propagator.agents import EXIT_GIVEN_UP
from services.propagator.transport import leave

STALL_S: Final = 120.0
EXIT_S: Final = 300.0
UNASSIGNED_S: Final = 90.0
"""Longer than any rebalance lasts; a worker beyond one per partition is not foreseen (docs/deploy.md)."""
NOTHING_ASSIGNED: Final = -1
LOOK_S: Final = 2.0
ASK_TIMEOUT_S: Final = 10.0

LAG = Gauge("dongui_propagator_lag", "Records on the topic that are not applied yet", ["application"])
SINCE_ACK = Gauge("dongui_propagator_seconds_since_ack", "Seconds since a batch was acknowledged", ["application"])
log = structlog.get_logger("watchdog")


class Watchdog:
    """Looks at lag and acknowledgements: `live()` for the probe, `run()` to look and, in the end, to leave."""

    def __init__(
        self,
        application: str,
        *,
        lag: Callable[[], Awaitable[int | None]],
        acked_at: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        stall_s: float = STALL_S,
        exit_s: float = EXIT_S,
    ) -> None:
        """`lag` returns records not yet acknowledged, None when unknown, NOTHING_ASSIGNED when this process owns none.

        `acked_at` is in `monotonic` seconds.
        """
        self._application = application
        self._lag = lag
        self._acked_at = acked_at
        self._monotonic = monotonic
        self._stall_s = stall_s
        self._exit_s = exit_s
        self._behind_since: float | None = None
        self._unassigned_since: float | None = None

    @property
    def stalled_s(self) -> float:
        """Seconds in which records waited and none was acknowledged."""
        if self._behind_since is None:
            return 0.0
        return max(0.0, self._monotonic() - max(self._behind_since, self._acked_at()))

    def live(self) -> bool:
        """Say whether the process makes progress, or has nothing to do."""
        return self.stalled_s < self._stall_s

    def is_lost(self) -> bool:
        """Say whether only a restart can help."""
        return self.stalled_s >= self._exit_s

    def is_idle(self) -> bool:
        """Say whether this process has owned no partition for so long that the group must have forgotten it."""
        return self._unassigned_since is not None and self._monotonic() - self._unassigned_since >= UNASSIGNED_S

    async def look(self) -> None:
        """Ask for the lag once. While it is unknown the clock runs on: what was behind is still behind."""
        lag = await self._lag()
        SINCE_ACK.labels(self._application).set(self._monotonic() - self._acked_at())
        if lag != NOTHING_ASSIGNED:
            self._unassigned_since = None
        elif self._unassigned_since is None:
            self._unassigned_since = self._monotonic()
        if lag is None or lag == NOTHING_ASSIGNED:
            return
        LAG.labels(self._application).set(lag)
        if lag == 0:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = self._monotonic()

    async def run(self, app: faust.App, stop: asyncio.Event) -> None:
        """Look until `stop`; leave the process when it is stalled for good or Faust has ended by itself."""
        while not stop.is_set():
            await self.look()
            if self.is_lost():
                leave(EXIT_GIVEN_UP, "no_progress", stalled_s=round(self.stalled_s))
            if self.is_idle():
                leave(EXIT_GIVEN_UP, "no_partitions")
            if app.should_stop and not stop.is_set():
                leave(EXIT_GIVEN_UP, "faust_ended")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_S)


def acked_at(app: faust.App) -> float:
    """Return when this app last acknowledged a batch or took its position, in time.monotonic seconds."""
    return float(app.consumer.acked_at)


async def lag(app: faust.App, probe: AIOKafkaConsumer) -> int | None:
    """Return how many records of its partitions an app has not acknowledged; None when the broker does not say.

    NOTHING_ASSIGNED when it has none although the broker answers.
    """
    positions = app.consumer.positions
    asked = [TopicPartition(tp.topic, tp.partition) for tp in positions]
    try:
        ends = await asyncio.wait_for(probe.end_offsets(asked or [_first_partition(app)]), ASK_TIMEOUT_S)
    except (KafkaError, TimeoutError, OSError) as error:
        log.warning("lag_unknown", error=type(error).__name__)
        return None
    if not asked:
        return NOTHING_ASSIGNED
    return int(sum(max(0, ends[tp] - positions[tp]) for tp in asked))


def _first_partition(app: faust.App) -> TopicPartition:
    (agent,) = app.agents.values()
    return TopicPartition(agent.channel.topics[0], 0)

"""A Faust transport that hands an agent all records of one partition's fetch as one message (docs/decisions/0004).

It keeps its own book of what was delivered and acknowledged, because Faust 0.15.3 commits past an unacknowledged
head. The committed offset is the end of the acknowledged prefix, and a batch that was not applied cannot be
acknowledged at all. Topics must be neither compacted nor transactional: a hole in the offsets ends the process.
"""

import os
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NoReturn

import faust
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from faust.transport import drivers
from faust.transport.drivers import aiokafka as kafka_driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage, ack_lock
from mode.utils.futures import notify
from prometheus_client import Counter

SCHEME = "kafkabatch"
EXIT_HOLE = 70
FETCH_WAIT_MS = 200
"""How long the broker may hold a fetch without records. Faust's 1.5 s delays the partition that was just emptied."""

OFFSETS_LOST = Counter("dongui_batch_offsets_lost", "Committed offsets the broker no longer has", ["application"])
log = structlog.get_logger("transport")


class ProducerForbiddenError(Exception):
    """Faust's producer loses records when a commit fails; what must leave goes through the outbox."""


@dataclass(eq=False)
class Batch:
    """The records of one partition in offset order; `applied` is set once their effects are committed."""

    records: list["ConsumerRecord[Any, Any]"] = field(repr=False)
    applied: bool = False


def register() -> None:
    """Make `kafkabatch://host:port` a broker URL that Faust understands."""
    drivers.TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"


def leave(code: int, why: str, **known: object) -> NoReturn:
    """End the process at once, acknowledging nothing: what was in flight is read again at the next start."""
    log.error("process_left", why=why, exit_code=code, **known)
    os._exit(code)


class BatchSchema(faust.Schema):  # type: ignore[misc]
    """Hands the batch through: decoding is ours, because Faust acknowledges before it reports a decoding error."""

    def compile(self, app: Any, **_: Any) -> Any:
        """Return Faust's decode function."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001
            return create_event(None, message.value, message.headers, message)

        return decode


class BatchConsumer(kafka_driver.Consumer):  # type: ignore[misc]
    """Faust's consumer with batches for messages and with its own book of acknowledgements."""

    callback: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._inflight: dict[TP, deque[Any]] = defaultdict(deque)  # delivered, in order
        self._expected: dict[TP, int] = {}  # the offset the next batch must begin with
        self._done: dict[TP, int] = {}  # the offset after the acknowledged prefix
        self._stored: dict[TP, int] = {}  # what the broker has as committed
        self.acked_at = monotonic()
        deliver: Any = self.callback

        async def tracked(message: Any) -> None:
            if self._track(message):
                await deliver(message)

        self.callback = tracked

    @property
    def positions(self) -> dict[TP, int]:
        """For each assigned partition the offset after what is applied and acknowledged."""
        return dict(self._done)

    def _new_consumer_thread(self) -> Any:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    # A fetch becomes one message per partition.

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109
        fetched = await super()._getmany(active_partitions, timeout)
        return {tp: [Batch(records)] for tp, records in fetched.items() if records}

    def _to_message(self, tp: TP, batch: Batch) -> Any:
        last = batch.records[-1]
        return ConsumerMessage(
            topic=last.topic,
            partition=last.partition,
            offset=last.offset,
            timestamp=last.timestamp / 1000.0,
            timestamp_type=last.timestamp_type,
            headers=None,
            key=None,
            value=batch,
            checksum=None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _track(self, message: Any) -> bool:
        """Enter a delivered batch; False for one of a partition that is no longer ours."""
        expected, first = self._expected.get(message.tp), message.value.records[0].offset
        if expected is None:
            return False
        if first > expected:
            leave(EXIT_HOLE, "offset_hole", partition=message.partition, expected=expected, found=first)
        self._expected[message.tp] = message.offset + 1
        self._inflight[message.tp].append(message)
        return True

    # Acknowledged is the prefix of delivered batches, by identity; Faust's gap logic has no say.

    async def _add_gap(self, *_: Any) -> None:
        return

    def ack(self, message: Any) -> bool:
        """Acknowledge a batch that was applied; any other acknowledgement (Faust's own) is refused and said."""
        if not message.value.applied:
            log.error("acknowledged_unapplied", partition=message.partition, offset=message.offset)
            return False
        with ack_lock:
            if message.acked:
                return False
            message.acked = True
            self._unacked_messages.discard(message)
            self._advance(message.tp)
            notify(self._waiting_for_ack)
        return True

    def _advance(self, tp: TP) -> None:
        waiting = self._inflight[tp]
        while waiting and waiting[0].acked:
            self._done[tp] = max(self._done.get(tp, 0), waiting.popleft().offset + 1)
            self.acked_at = monotonic()

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> list[TP]:
        asked = [tp for tp in self._done if topics is None or tp in topics or tp.topic in topics]
        return [tp for tp in asked if self._should_commit(tp, self._done[tp])]

    def _new_offset(self, tp: TP) -> int | None:
        return self._done.get(tp)

    def _should_commit(self, tp: TP, offset: int) -> bool:
        return offset > self._stored.get(tp, -1)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit, and remember it only when the broker has it: Faust would not try again."""
        committed = bool(await super()._commit(offsets))
        if committed:
            self._stored.update(offsets)
        return committed

    # A change of position forgets what was in flight: it is read again.

    async def perform_seek(self) -> None:
        """Go to the committed offsets, or to the beginning where there is none, and expect exactly those."""
        self._forget(set(self._expected))
        await super().perform_seek()
        starts = await self._starts()
        await self.seek_wait(starts)
        self._expected.update(starts)
        self._done.update(starts)
        self._stored.update({tp: self._committed_offset.get(tp) or -1 for tp in starts})
        self.acked_at = monotonic()

    async def _starts(self) -> dict[TP, int]:
        assigned = self.assignment()
        if not assigned:
            return {}
        first = await self.earliest_offsets(*assigned)
        return {tp: self._start(tp, first[tp]) for tp in assigned}

    def _start(self, tp: TP, first: int) -> int:
        committed = self._committed_offset.get(tp) or 0
        if 0 < committed < first:
            OFFSETS_LOST.labels(self.app.conf.id).inc()
            log.error("offsets_lost", partition=tp.partition, committed=committed, first=first)
        return max(committed, first)

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Forget the partitions that are no longer ours."""
        await super().on_partitions_revoked(revoked)
        self._forget(revoked)

    def _forget(self, partitions: Iterable[TP]) -> None:
        for tp in set(partitions):
            for book in (self._inflight, self._expected, self._done, self._stored):
                book.pop(tp, None)


class _Thread(kafka_driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        made = super()._create_worker_consumer(transport)
        made._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - Faust gives it no setting
        return made


class RefusingProducer(kafka_driver.Producer):  # type: ignore[misc]
    """Faust starts a producer with every app; ours sends nothing."""

    async def send(self, *_: Any, **__: Any) -> NoReturn:
        """Raise ProducerForbiddenError."""
        raise ProducerForbiddenError

    async def send_and_wait(self, *_: Any, **__: Any) -> NoReturn:
        """Raise ProducerForbiddenError."""
        raise ProducerForbiddenError

    def send_soon(self, *_: Any, **__: Any) -> NoReturn:
        """Raise ProducerForbiddenError."""
        raise ProducerForbiddenError


class Transport(kafka_driver.Transport):  # type: ignore[misc]
    """What the URL scheme stands for."""

    Consumer = BatchConsumer
    Producer = RefusingProducer

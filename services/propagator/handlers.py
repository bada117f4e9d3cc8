"""One batch of an affiliate's topic: read the envelopes, find the keys, fold, store; receipts in the same transaction.

Returns when committed. What is wrong with a record for ever goes to the dead-letter topic; what may get better
(database, key service) raises, and the caller tries the batch again: it is idempotent from end to end.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import asyncpg
import structlog
from aiokafka import ConsumerRecord
from prometheus_client import Counter

from schemas import codec
from schemas.envelope import UUID, Envelope, from_headers
from schemas.errors import CodecError
from schemas.events import Projection, Stop
from schemas.jwe import KID, Token
from schemas.receipts import Stage
from schemas.topics import affiliate_topic
from services.propagator import model, parking, store
from services.propagator.answers import dead_letter, receipt
from services.propagator.keys import ContentKeys, Found
from services.propagator.model import Arrival, State
from services.runtime import tracing
from services.runtime.clock import Clock
from services.runtime.outbox import Record

RECORDS = Counter("dongui_propagator_records", "Records of the affiliate's topic by result", ["affiliate", "result"])
GAPS_OPENED = Counter("dongui_propagator_gaps_opened", "Gaps noticed in a member's sequence", ["affiliate"])
log = structlog.get_logger("propagator")

Raw: TypeAlias = "ConsumerRecord[Any, Any]"


@dataclass(frozen=True, slots=True)
class Opened:
    """A record whose envelope is good, and its sealed value taken apart; `token` None for a clear one."""

    raw: Raw
    envelope: Envelope
    token: Token | None

    @property
    def kid(self) -> str | None:
        """The name of the key that the value needs."""
        return self.token.header.kid if self.token else None


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that is wrong for ever; `code` says how, `envelope` is there when the headers were good."""

    raw: Raw
    code: str
    envelope: Envelope | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """A batch after reading it: what is new, what is wrong for ever, what a pause parks, how many were seen before."""

    arrivals: Sequence[Arrival]
    refused: Sequence[Refused]
    parked: Sequence[Opened]
    duplicates: int


@dataclass
class Outcome:
    """What a batch does: states before and after, the answers, and what is to be counted."""

    states: dict[str, State]
    before: dict[str, State] = field(default_factory=dict)
    answers: list[tuple[Arrival, Stage]] = field(default_factory=list)
    duplicates: int = 0
    refused: Sequence[Refused] = ()

    def changes(self) -> list[store.Change]:
        """Return each changed member's state before and after."""
        return [(before, self.states[ref]) for ref, before in self.before.items()]


@dataclass(frozen=True)
class Propagator:
    """Applies the records of one affiliate's topic to its member store."""

    affiliate: str
    pool: asyncpg.Pool
    keys: ContentKeys
    clock: Clock
    nudge: Callable[[], None] = lambda: None
    leaves: Callable[[Record], bool] = lambda _: True
    """Which answers leave through the outbox; a replay lets none go that was not asked for."""

    async def apply(self, records: Sequence[Raw]) -> None:
        """Apply a batch; committed when it returns. Raises KeyServiceError and database errors: try again."""
        await self._apply(records, park=True)

    async def unpark(self) -> int:
        """Apply the next of what was parked before the pause ended; return how many. Raises what `apply` raises."""
        records = await parking.taken(self.pool, self.affiliate)
        if records:
            with tracing.processing(records, f"{self.affiliate}-parked"):
                await self._apply(records, park=False)
                await parking.forget(self.pool, records)
        return len(records)

    async def _apply(self, records: Sequence[Raw], *, park: bool) -> None:
        read = await self._read(records, {}, park=park)
        outcome = await self._store(read)
        self.nudge()
        self._count(outcome, read)

    async def preview(self, records: Sequence[Raw], known: Mapping[str, State]) -> Outcome:
        """Return what `apply` would do now, writing nothing. `known` says what earlier previews made of a member."""
        read = await self._read(records, known, park=False)
        states = await store.read(self.pool, [a.member_ref for a in read.arrivals]) if read.arrivals else {}
        outcome = Outcome(states | {ref: known[ref] for ref in states.keys() & known.keys()}, refused=read.refused)
        now = self.clock()
        for arrival in read.arrivals:
            self._fold(outcome, arrival, now)
        outcome.duplicates += read.duplicates
        return outcome

    async def said(self, records: Sequence[Raw]) -> list[Arrival]:
        """Return what records say, seen before or not. Raises UnreadableError for one that nobody can read."""
        opened = [_open(self.affiliate, raw) for raw in records]
        refused = [r for r in opened if isinstance(r, Refused)]
        arrivals = await self._decode([(r, False) for r in opened if isinstance(r, Opened)], refused)
        if refused:
            raise UnreadableError(refused[0].code)
        return arrivals

    async def _read(self, records: Sequence[Raw], known: Mapping[str, State], *, park: bool) -> Read:
        """Return what is new, what is wrong for ever, what a pause parks, and how many were seen before."""
        opened = [_open(self.affiliate, raw) for raw in records]
        refused = [r for r in opened if isinstance(r, Refused)]
        good = [r for r in opened if isinstance(r, Opened)]
        seen = await store.seen(self.pool, [r.envelope.subject for r in good]) if good else store.Seen({}, paused=False)
        fresh = _fresh(good, {**seen.states, **known})
        parked = [r for r, suppressed in fresh if park and seen.paused and r.kid is not None and not suppressed]
        waits = {id(r) for r in parked}
        arrivals = await self._decode([(r, s) for r, s in fresh if id(r) not in waits], refused)
        return Read(arrivals, refused, parked, len(good) - len(fresh))

    async def _decode(self, fresh: Sequence[tuple[Opened, bool]], refused: list[Refused]) -> list[Arrival]:
        kids = [r.kid for r, suppressed in fresh if r.kid is not None and not suppressed]
        keys = await self.keys.find(kids) if kids else {}
        arrivals = []
        for record, suppressed in fresh:
            try:
                arrivals.append(_unread(record) if suppressed else _decoded(self.affiliate, record, keys))
            except (CodecError, _KeyUnknownError) as error:
                refused.append(Refused(record.raw, error.code, record.envelope))
        return arrivals

    async def _store(self, read: Read) -> Outcome:
        now = self.clock()
        outcome = Outcome({}, refused=read.refused)
        if not read.arrivals and not read.refused and not read.parked:
            return outcome
        async with self.pool.acquire() as tx, tx.transaction():
            if read.arrivals:
                outcome.states = await store.lock(tx, [a.member_ref for a in read.arrivals])
                for arrival in read.arrivals:
                    self._fold(outcome, arrival, now)
            await parking.park(tx, [(r.envelope.subject, r.envelope.sequence, r.raw) for r in read.parked], now)
            await store.write(tx, outcome.changes(), self._outgoing(outcome, now), now)
        return outcome

    def _fold(self, outcome: Outcome, arrival: Arrival, now: datetime) -> None:
        before = outcome.states[arrival.member_ref]
        after, stage = model.receive(before, arrival, now)
        if stage is None:
            outcome.duplicates += 1
            return
        outcome.before.setdefault(arrival.member_ref, before)
        outcome.states[arrival.member_ref] = after
        outcome.answers.append((arrival, stage))

    def _outgoing(self, outcome: Outcome, now: datetime) -> list[Record]:
        receipts = [
            receipt(self.affiliate, a.change_id, a.member_ref, a.seq, stage, now) for a, stage in outcome.answers
        ]
        receipts += [_refusal(self.affiliate, r, now) for r in outcome.refused]
        letters = [dead_letter(affiliate_topic(self.affiliate), r.raw, r.code) for r in outcome.refused]
        told = [record for record in receipts if record is not None] + letters
        return [record for record in told if self.leaves(record)]

    def _count(self, outcome: Outcome, read: Read) -> None:
        results = collections.Counter[str](stage for _, stage in outcome.answers)
        results["duplicate"] = read.duplicates + outcome.duplicates
        results["parked"], results["refused"] = len(read.parked), len(read.refused)
        for result, count in (+results).items():
            RECORDS.labels(self.affiliate, result).inc(count)
        for r in read.refused:
            log.warning("record_refused", code=r.code, partition=r.raw.partition, offset=r.raw.offset)
        for before, after in outcome.changes():
            if after.gaps and after.gaps[-1].after >= before.seq:
                GAPS_OPENED.labels(self.affiliate).inc()
                log.warning("gap_opened", member_ref=after.member_ref, after=before.seq, seq=after.seq)


class UnreadableError(Exception):
    """A record that was to be read can never be; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _KeyUnknownError(Exception):
    """No key was ever made for what a record says sealed it."""

    code = "key_unknown"


def _fresh(opened: Sequence[Opened], seen: Mapping[str, State]) -> list[tuple[Opened, bool]]:
    """Leave out what was seen before: neither a duplicate nor a replay needs a key. True: suppressed."""
    known = [(r, seen[r.envelope.subject]) for r in opened]
    return [(r, s.suppressed) for r, s in known if not model.is_duplicate(s, r.envelope.sequence)]


def _open(affiliate: str, raw: Raw) -> Opened | Refused:
    """Read the envelope and, of a sealed value, the name of its key."""
    envelope = None
    try:
        envelope = _checked(from_headers(raw.headers))
        token = codec.parse(raw.value) if codec.is_sealed(envelope) else None
        if token is not None:
            _check_kid(affiliate, envelope, token.header.kid)
    except CodecError as error:
        return Refused(raw, error.code, envelope)
    return Opened(raw, envelope, token)


def _checked(envelope: Envelope) -> Envelope:
    """Hold the envelope to what the store needs before it looks anything up by it."""
    numbers = 0 <= envelope.previous < envelope.sequence
    if not UUID.fullmatch(envelope.subject) or not numbers:
        raise CodecError("bad_headers")
    return envelope


def _check_kid(affiliate: str, envelope: Envelope, kid: str) -> None:
    """Never ask for another's key: the service would refuse the whole request, for ever."""
    named = KID.fullmatch(kid)
    if named is None or (named["recipient"], named["member"]) != (affiliate, envelope.subject):
        raise CodecError("header_mismatch")


def _decoded(affiliate: str, record: Opened, keys: dict[str, Found]) -> Arrival:
    """Return what a record says; raise CodecError or _KeyUnknownError when it can never be read."""
    envelope, token = record.envelope, record.token
    if token is None:
        shape: object = codec.decode_clear(envelope, record.raw.value)
    else:
        key = keys[token.header.kid]
        if key == "key_unknown":
            raise _KeyUnknownError
        if not isinstance(key, bytes):
            return _unread(record)
        shape = codec.unseal(envelope, token, key=key, topic=affiliate_topic(affiliate))
    if not isinstance(shape, Projection | Stop):
        raise CodecError("unknown_schema")
    return Arrival(shape.member_ref, shape.seq, shape.prev, shape.change_id, shape)


def _unread(record: Opened) -> Arrival:
    """A record of a member who was erased: seen, and left unread."""
    envelope = record.envelope
    return Arrival(envelope.subject, envelope.sequence, envelope.previous, envelope.change_id, None)


def _refusal(affiliate: str, refused: Refused, now: Any) -> Record | None:
    envelope = refused.envelope
    if envelope is None:
        return None
    known = (envelope.change_id, envelope.subject, envelope.sequence)
    return receipt(affiliate, *known, "refused", now, reason=refused.code)

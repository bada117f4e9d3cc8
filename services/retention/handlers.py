"""What is done with a batch of records: each is opened, checked, sealed anew and kept, once, with its receipt.

Rows, receipts and offsets share one transaction. What can never be kept is answered too, and goes to the dead letters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import structlog
from aiokafka import ConsumerRecord
from prometheus_client import Counter

from schemas import codec, envelope
from schemas.codec import RETENTION_PARTY, CodecError
from schemas.envelope import Envelope, from_headers
from schemas.events import StatutoryRecord
from schemas.jwe import KID
from schemas.receipts import Stage
from schemas.topics import RETENTION
from services.keyring.kek import KekProvider
from services.policy.retention import all_classes
from services.retention import answers, sealing, store
from services.retention.keys import Found, RecordKeys
from services.retention.store import Row
from services.runtime.clock import KST, Clock
from services.runtime.dead_letter import dead_letter
from services.runtime.outbox import Record
from services.runtime.postgres import Connection

TAKEN = Counter("dongui_retention_records", "Records of the retention topic by what became of them", ["result"])
log = structlog.get_logger("retention")
Raw: TypeAlias = "ConsumerRecord[Any, Any]"


class RefusedError(Exception):
    """A record that opens but may not be kept; `code` says why, nothing of it is in the error."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class _Work:
    """What one batch comes to."""

    at: datetime
    rows: list[Row] = field(default_factory=list)
    out: list[Record] = field(default_factory=list)

    def answer(self, env: Envelope, stage: Stage, reason: str | None = None) -> None:
        made = answers.receipt(env, stage, self.at, reason)
        self.out += [made] if made else []
        TAKEN.labels(stage).inc()


class Intake:
    """`take` is the follower's handler. The same batch again changes nothing and answers nothing."""

    def __init__(self, keys: RecordKeys, kek: KekProvider, index_key: bytes, clock: Clock) -> None:
        self._keys = keys
        self._kek = kek
        self._index_key = index_key
        self._clock = clock

    async def take(self, tx: Connection, batch: Sequence[Raw]) -> None:
        """Keep a batch. Raises KeyServiceError or KekError while one of them is away: the batch comes again."""
        work = _Work(self._clock())
        opened = _readable(batch, work)
        present = await store.known(tx, [env.id for env, _, _ in opened])
        fresh = {env.id: (env, raw, kid) for env, raw, kid in opened if env.id not in present}
        keys = await self._keys.find([kid for _, _, kid in fresh.values()]) if fresh else {}
        for env, raw, kid in fresh.values():
            await self._keep(env, raw, keys[kid], work)
        await store.insert(tx, work.rows, work.at)
        await store.append_new(tx, work.out)

    async def _keep(self, env: Envelope, raw: Raw, key: Found, work: _Work) -> None:
        if key == "key_destroyed":
            log.error("record_lost_its_key", record_id=env.id)
            work.answer(env, "skipped_destroyed", "key_destroyed")
            return
        try:
            record = _opened(env, raw, key)
            check(record, work.at)
        except (CodecError, RefusedError) as error:
            _refuse(env, raw, error.code, work)
            return
        content = {"party": record.party, "fields": record.fields}
        email = record.party.get("email")
        mac = sealing.email_mac(self._index_key, email) if email else None
        work.rows.append(Row(record, await sealing.seal(self._kek, record.record_id, content), mac))
        work.answer(env, "retained")


def check(record: StatutoryRecord, at: datetime) -> None:
    """Raise RefusedError for a field the class may not hold, whoever let it through, and for a period that is over."""
    of = all_classes()[record.record_class]
    if of.not_allowed(record.fields) or not record.party.keys() <= of.party:
        raise RefusedError("field_not_allowed")
    if record.destroy_on <= at.astimezone(KST).date():
        raise RefusedError("keeping_over")


def _readable(batch: Sequence[Raw], work: _Work) -> list[tuple[Envelope, Raw, str]]:
    """Return the records that can be asked a key for."""
    found = []
    for raw in batch:
        try:
            env = from_headers(raw.headers)
        except CodecError as error:
            work.out.append(_letter(raw, error.code))
            continue
        try:
            found.append((env, raw, _kid(env, raw)))
        except CodecError as error:
            _refuse(env, raw, error.code, work)
    return found


def _kid(env: Envelope, raw: Raw) -> str:
    """Return the key id, whose parts must fit the envelope: it is what we ask the key service for."""
    if not (envelope.UUID.fullmatch(env.id) and envelope.UUID.fullmatch(env.subject)):
        raise CodecError("bad_headers")
    kid = codec.kid_of(raw.value)
    parts = KID.fullmatch(kid)
    if parts is None or parts["recipient"] != RETENTION_PARTY or parts["member"] != env.subject:
        raise CodecError("header_mismatch")
    return kid


def _opened(env: Envelope, raw: Raw, key: Found) -> StatutoryRecord:
    if not isinstance(key, bytes):
        raise CodecError("wrong_key")
    shape = codec.unseal(env, raw.value, key=key, topic=RETENTION)
    if not isinstance(shape, StatutoryRecord):
        raise CodecError("header_mismatch")
    return shape


def _refuse(env: Envelope, raw: Raw, code: str, work: _Work) -> None:
    work.out.append(_letter(raw, code))
    if envelope.UUID.fullmatch(env.id) and envelope.UUID.fullmatch(env.subject):
        work.answer(env, "refused", code)


def _letter(raw: Raw, code: str) -> Record:
    log.warning("record_refused", code=code, partition=raw.partition, offset=raw.offset)
    return dead_letter(RETENTION, raw, code)

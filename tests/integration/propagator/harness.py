"""What the propagator tests share: records as consent seals them, a key service, the store, the process."""

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
from aiohttp import web
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition

from schemas import codec
from schemas.base import Marketing
from schemas.envelope import Envelope, to_headers
from schemas.events import MemberPart, ProcessedPart, Projection, Stop, Suppression, event_type
from schemas.topics import SUPPRESSIONS, affiliate_topic
from services.keyring import derive
from services.runtime import kafka
from services.runtime.settings import Settings
from tests.support.freezing import freeze

AFFILIATE = "tmax-os"
TOPIC = affiliate_topic(AFFILIATE)
GROUP = f"dongui-propagator-{AFFILIATE}"
TOKEN = "a-token-of-the-test-issuer"
AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
YES = Marketing(use=True, email=True, sms=False, night=False)
EVENTS = {"sharing_revoked": "consent_changed", "marketing_revoked": "consent_changed"}
STATE_COLUMNS = {
    "member": "member_ref, seq, email, name, password_hash, status, signed_up_at, withdrawn_at, marketing, suspended",
    "processed_member": "member_ref, seq, service, role, items, suspended, status",
    "watermark": "*",
    "gap": "member_ref, after_seq, upto_seq",
    "suppressed": "member_ref",
}


def data_key(ref: str) -> bytes:
    """The test's member keys are a function of the reference, so that no test has to keep them."""
    return uuid.uuid5(uuid.UUID(ref), "one").bytes + uuid.uuid5(uuid.UUID(ref), "two").bytes


@dataclass(frozen=True)
class Sent:
    """One record of the affiliate's topic, before Kafka."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]

    def consumed(self, offset: int, partition: int = 0) -> Any:
        """As a consumer hands it out."""
        return ConsumerRecord(TOPIC, partition, offset, 0, 0, self.key, self.value, None, 0, 0, tuple(self.headers))


@dataclass
class Member:
    """Builds one member's records: each names the one before, as consent does."""

    ref: str = field(default_factory=lambda: str(uuid.uuid4()))
    prev: int = 0
    changes: list[str] = field(default_factory=list)

    def projection(
        self, seq: int, *, prev: int | None = None, processed: bool = False, marketing: bool = False
    ) -> Sent:
        part = MemberPart(
            email=f"m{seq}@example.com", name="김하나", password_hash="$argon2id$x", status="active", signed_up_at=AT
        )
        items = {"email": f"m{seq}@example.com"}
        shape = Projection(
            change_id=self._change(),
            member_ref=self.ref,
            seq=seq,
            prev=self._prev(seq, prev),
            at=AT,
            member=part,
            marketing=YES if marketing else None,
            processed=ProcessedPart(service="hypermeeting", role="host", items=items) if processed else None,
        )
        return sealed(shape)

    def stop(self, name: Any, seq: int, *roles: Any, prev: int | None = None, suspended: tuple[str, ...] = ()) -> Sent:
        shape = Stop(
            stop=name,
            change_id=self._change(),
            member_ref=self.ref,
            seq=seq,
            prev=self._prev(seq, prev),
            at=AT + timedelta(seconds=seq),
            roles=roles,
            suspended=suspended,
        )
        env = envelope_of(shape, event_type(EVENTS.get(name, name)), "stop", "application/json")
        return record(env, codec.encode_clear(shape, env))

    def _change(self) -> str:
        self.changes.append(str(uuid.uuid4()))
        return self.changes[-1]

    def _prev(self, seq: int, given: int | None) -> int:
        prev = self.prev if given is None else given
        self.prev = max(self.prev, seq)
        return prev


def sealed(shape: Projection, *, kid: str | None = None, key: bytes | None = None) -> Sent:
    kid = kid or derive.format_kid(AFFILIATE, shape.member_ref, 1)
    key = key or derive.content_key(data_key(shape.member_ref), kid)
    env = envelope_of(shape, event_type("corrected"), "projection", "application/jose")
    return record(env, codec.seal(shape, key=key, kid=kid, topic=TOPIC))


def envelope_of(shape: Any, type_: str, schema: str, content_type: str) -> Envelope:
    return Envelope(
        id=str(uuid.uuid4()),
        type=type_,
        source="/dongui/consent",
        subject=shape.member_ref,
        sequence=shape.seq,
        previous=shape.prev,
        time=shape.at,
        dataschema=f"urn:dongui:{schema}:v1",
        content_type=content_type,
        change_id=shape.change_id,
    )


def record(env: Envelope, value: bytes) -> Sent:
    return Sent(env.subject.encode(), value, [(n, v.encode()) for n, v in to_headers(env).items()])


def changed(sent: Sent, *, value: bytes | None = b"", headers: dict[str, str] | None = None) -> Sent:
    """The same record with another value (b"" keeps it) or other headers."""
    made = dict(sent.headers) | {n: v.encode() for n, v in (headers or {}).items()}
    return Sent(sent.key, sent.value if value == b"" else value, list(made.items()))


@dataclass
class KeyService:
    """Stands for the consent service's key endpoint: a process of its own in the product."""

    url: str = ""
    status: int = 200
    destroyed: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    hold: asyncio.Event | None = None
    """The next request alone is answered only once this is set."""

    async def answer(self, request: web.Request) -> web.Response:
        hold, self.hold = self.hold, None
        if hold is not None:
            await hold.wait()
        if self.status != 200:
            return web.Response(status=self.status)
        if request.headers["Authorization"] != f"Bearer {TOKEN}":
            return web.Response(status=401)
        kids = orjson.loads(await request.read())["kids"]
        self.asked += kids
        keys, missing = [], []
        for kid in kids:
            recipient, ref, _ = derive.parse_kid(kid)
            if recipient != AFFILIATE:
                return web.Response(status=403)
            if ref in self.destroyed or ref in self.unknown:
                missing.append({"kid": kid, "code": "key_destroyed" if ref in self.destroyed else "key_unknown"})
            else:
                keys.append(derive.jwk(derive.content_key(data_key(ref), kid), kid))
        return web.Response(body=orjson.dumps({"keys": keys, "missing": missing}))


@contextlib.asynccontextmanager
async def key_service() -> AsyncIterator[KeyService]:
    service = KeyService()
    app = web.Application()
    app.router.add_post("/v1/keys", service.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()


class Store:
    """Looks into one affiliate's database, as its owner."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def value(self, statement: str, *args: Any) -> Any:
        return await self.pool.fetchval(statement, *args)

    async def member(self, ref: str) -> dict[str, Any] | None:
        row = await self.pool.fetchrow("SELECT * FROM member WHERE member_ref = $1", ref)
        return dict(row) if row else None

    async def gaps(self) -> list[tuple[int, int]]:
        rows = await self.pool.fetch("SELECT after_seq, upto_seq FROM gap ORDER BY member_ref, after_seq")
        return [tuple(row) for row in rows]

    async def receipts(self) -> list[tuple[str, str]]:
        """(change_id, stage) of every receipt in the outbox, in the order it was appended."""
        rows = await self.pool.fetch(
            "SELECT payload FROM outbox WHERE aggregatetype = 'dongui.receipts.v1' ORDER BY position"
        )
        found = [orjson.loads(row["payload"]) for row in rows]
        return [(r["change_id"], r["stage"]) for r in found]

    async def letters(self) -> list[asyncpg.Record]:
        return await self.pool.fetch(
            "SELECT aggregateid, payload, headers FROM outbox WHERE aggregatetype = $1 ORDER BY position",
            f"{TOPIC}.dlq",
        )

    async def snapshot(self) -> dict[str, list[dict[str, Any]]]:
        """Everything a replay must not change, without the instants at which it was done."""
        found = {}
        for table, columns in STATE_COLUMNS.items():
            rows = await self.pool.fetch(f"SELECT {columns} FROM {table} AS t ORDER BY t.member_ref, t::text")
            found[table] = [dict(row) for row in rows]
        return found


async def until(ask: Any, expected: Any, timeout_s: float = 30) -> None:
    """Wait until what `ask` returns is `expected`; fail with what it was."""
    found = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while (found := await ask()) != expected:
                await asyncio.sleep(0.03)
    assert found == expected


class Topic:
    """The affiliate's real topic: send to it, ask how far the group is."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self.settings = settings
        self.name = settings.topic_prefix + TOPIC
        self._producer = producer

    async def send(self, records: Iterable[Sent], partition: int | None = None) -> None:
        for r in records:
            await self._producer.send(self.name, key=r.key, value=r.value, headers=r.headers, partition=partition)
        await self._producer.flush()

    async def suppress(self, ref: str) -> None:
        shape = Suppression(member_ref=ref, at=AT)
        env = Envelope(
            id=str(uuid.uuid4()),
            type=event_type("erased"),
            source="/dongui/consent",
            subject=ref,
            sequence=9,
            previous=0,
            time=AT,
            dataschema="urn:dongui:suppression:v1",
            content_type="application/json",
        )
        made = record(env, codec.encode_clear(shape, env))
        name = self.settings.topic_prefix + SUPPRESSIONS
        await self._producer.send_and_wait(name, key=made.key, value=made.value, headers=made.headers)

    async def committed(self) -> int:
        """Sum of the group's committed offsets."""
        asking = kafka.consumer(self.settings, group_id=self.settings.topic_prefix + GROUP)
        await asking.start()
        try:
            offsets = [await asking.committed(TopicPartition(self.name, p)) for p in range(8)]
        finally:
            await asking.stop()
        return sum(offset or 0 for offset in offsets)

    async def read(self, topic: str, count: int) -> list[Any]:
        """Read `count` records of a logical topic from its beginning."""
        reader = kafka.consumer(self.settings)
        await reader.start()
        try:
            name = self.settings.topic_prefix + topic
            partitions = [
                TopicPartition(name, p) for p in sorted(reader.partitions_for_topic(name) or await _parts(reader, name))
            ]
            reader.assign(partitions)
            await reader.seek_to_beginning(*partitions)
            found: list[Any] = []
            async with asyncio.timeout(20):
                while len(found) < count:
                    for batch in (await reader.getmany(timeout_ms=200)).values():
                        found += batch
            return found
        finally:
            await reader.stop()


async def _parts(reader: Any, name: str) -> set[int]:
    reader.subscribe([name])
    while not reader.partitions_for_topic(name):
        await asyncio.sleep(0.05)
        await reader._client.force_metadata_update()
    reader.unsubscribe()
    return set(reader.partitions_for_topic(name))


class Process:
    """One propagator process, as in production."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self._env = env
        self._log = log
        self._child: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "services.propagator", "--affiliate", AFFILIATE]
        with self._log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *command, env=os.environ | self._env, stdout=log, stderr=log
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def freeze(self) -> None:
        assert self._child is not None
        freeze(self._child.pid)

    async def ended(self, timeout_s: float = 15) -> int:
        assert self._child is not None
        return await asyncio.wait_for(self._child.wait(), timeout_s)

    async def stop(self) -> None:
        if self._child is not None and self._child.returncode is None:
            self._child.kill()
            await self._child.wait()

    def logged(self) -> list[dict[str, Any]]:
        lines = self._log.read_bytes().splitlines() if self._log.exists() else []
        return [orjson.loads(line) for line in lines if line.startswith(b"{")]

    def events(self) -> set[str]:
        return {entry["event"] for entry in self.logged()}

    async def health(self, path: str) -> httpx.Response:
        port = [e["port"] for e in self.logged() if e["event"] == "health_served"][-1]
        async with httpx.AsyncClient() as client:
            return await client.get(f"http://127.0.0.1:{port}{path}")


def numbered(records: Sequence[Sent]) -> list[Any]:
    """Records as one consumed batch with rising offsets."""
    return [sent.consumed(offset) for offset, sent in enumerate(records)]

"""What the notices tests share: a third party in its own process, a key service, sealed notices."""

import asyncio
import base64
import contextlib
import dataclasses
import json
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiokafka import AIOKafkaProducer, ConsumerRecord
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.events import Notice
from schemas.receipts import RECEIPT_TYPE, Receipt
from schemas.topics import NOTICES, RECEIPTS
from services import cli
from services.devstack.ports import free_ports
from services.keyring import derive
from services.propagator.notices import app, by_hand
from services.propagator.notices.app import Parts
from services.propagator.notices.signing import Signer
from services.runtime import kafka
from services.runtime.settings import Settings
from tests.support.servers import REPOSITORY

SEED = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
TOKEN = "the-notices-token"
PARTNER = "demo-partner"
AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@dataclass
class ThirdParty:
    """The receiver's process: where it listens, how it shall behave, what it was told."""

    url: str
    store: Path
    client: aiohttp.ClientSession

    async def behave(self, *behaviours: dict[str, Any]) -> None:
        async with self.client.put(f"{self.url}/admin/behaviour", json=list(behaviours)) as answer:
            assert answer.status == 200

    async def received(self) -> list[dict[str, Any]]:
        async with self.client.get(f"{self.url}/received") as answer:
            found: list[dict[str, Any]] = (await answer.json())["received"]
            return found

    async def until(self, count: int, timeout_s: float = 20) -> list[dict[str, Any]]:
        """Wait until it was told `count` times; fail when it was told more or less."""
        found: list[dict[str, Any]] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while len(found := await self.received()) < count:
                    await asyncio.sleep(0.05)
        assert len(found) == count
        return found


@pytest.fixture
async def partner(tmp_path: Path) -> AsyncIterator[ThirdParty]:
    """The demo's third party, started as `make demo` starts it."""
    port = free_ports(1)[0]
    store = tmp_path / "received.jsonl"
    command = [sys.executable, "-m", "services.devstack.partner", "--port", str(port), "--store", str(store)]
    keys = {"DONGUI_PARTNER_SECRET": SECRET, "DONGUI_PARTNER_PUBLIC_KEY": Signer(SEED).public_key}
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, env={"PATH": "/usr/bin:/bin", **keys})
    async with aiohttp.ClientSession() as client:
        made = ThirdParty(f"http://127.0.0.1:{port}", store, client)
        try:
            await ready(client, f"{made.url}/readyz")
            yield made
        finally:
            process.terminate()
            await asyncio.wait_for(process.wait(), 10)


async def ready(client: aiohttp.ClientSession, url: str, timeout_s: float = 30) -> None:
    """Wait until a process says that it is ready."""
    async with asyncio.timeout(timeout_s):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)


@dataclass
class KeyService:
    """Stands for the consent service's key endpoint: member_ref to data key, the shredded ones by name."""

    data_keys: dict[str, bytes] = field(default_factory=dict)
    destroyed: set[str] = field(default_factory=set)
    up: bool = True
    asked: int = 0
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if not self.up:
            return web.json_response({}, status=503)
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        found, missing = [], []
        for kid in (await request.json())["kids"]:
            member_ref = derive.parse_kid(kid)[1]
            if member_ref in self.data_keys:
                found.append(derive.jwk(derive.content_key(self.data_keys[member_ref], kid), kid))
            else:
                code = "key_destroyed" if member_ref in self.destroyed else "key_unknown"
                missing.append({"kid": kid, "code": code})
        return web.json_response({"keys": found, "missing": missing})


@pytest.fixture
async def key_service() -> AsyncIterator[KeyService]:
    service = KeyService()
    app = web.Application()
    app.add_routes([web.post("/v1/keys", service.answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield service
    await runner.cleanup()


@pytest.fixture
def settings(stack: Any, databases: Any, tmp_path: Path, partner: ThirdParty, key_service: KeyService) -> Settings:
    """Settings of one notices process that knows one endpoint. Tests that use topics add a prefix of their own."""
    seed = tmp_path / "webhook.key"
    seed.write_bytes(SEED)
    return Settings(
        profile="dev",
        kafka=stack.bootstrap,
        topic_prefix="none-",
        notices_dsn=SecretStr(databases.dsn("notices")),
        notices_token=SecretStr(TOKEN),
        consent_url=key_service.url,
        webhook_signing_key_file=seed,
        third_parties={PARTNER: {"url": f"{partner.url}/webhook", "secret": SECRET}},
        data_dir=tmp_path / "data",
    )


@dataclass(frozen=True)
class Sealed:
    """A notice as it travels: the shape, its headers and its sealed bytes."""

    notice: Notice
    record_id: str
    headers: list[tuple[str, bytes]]
    value: bytes


def sealed_notice(
    keys: KeyService,
    *,
    member_ref: str | None = None,
    seq: int = 2,
    recipient: str = PARTNER,
    email: str = "haneul@example.kr",
    name: str | None = None,
    withheld: tuple[str, ...] = (),
) -> Sealed:
    """Return a notice about a member (a new one by default), sealed as the consent service seals it.

    It is about the e-mail; with `name` about the name too, and with an empty `email` about nothing else. What is
    `withheld` is told without its value.
    """
    ref = member_ref or str(uuid.uuid4())
    if ref not in keys.destroyed:
        keys.data_keys.setdefault(ref, uuid.uuid4().bytes * 2)
    values = ({"email": email} if email else {}) | ({"name": name} if name else {})
    notice = Notice(
        notice_id=str(uuid.uuid4()),
        change_id=str(uuid.uuid4()),
        member_ref=ref,
        recipient=recipient,
        seq=seq,
        corrected_at=AT,
        items=tuple(values),
        values={item: value for item, value in values.items() if item not in withheld},
        withheld=withheld,
    )
    kid = derive.format_kid(recipient, ref, 1)
    data_key = keys.data_keys.get(ref, bytes(32))
    value = codec.seal(notice, key=derive.content_key(data_key, kid), kid=kid, topic=NOTICES)
    envelope = _envelope(notice)
    headers = [(name, text.encode()) for name, text in to_headers(envelope).items()]
    return Sealed(notice, envelope.id, headers, value)


def _envelope(notice: Notice) -> Envelope:
    return Envelope(
        id=str(uuid.uuid4()),
        type="kr.dongui.member.corrected.v1",
        source="/dongui/consent",
        subject=notice.member_ref,
        sequence=notice.seq,
        previous=notice.seq - 1,
        time=AT,
        dataschema="urn:dongui:notice:v1",
        content_type="application/jose",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        change_id=notice.change_id,
    )


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    made = await kafka.producer(settings)
    yield made
    await made.stop()


async def publish(producer: AIOKafkaProducer, settings: Settings, *notices: Sealed) -> None:
    """Put sealed notices on the topic as the relay does."""
    topic = settings.topic_prefix + NOTICES
    for one in notices:
        key = one.notice.member_ref.encode()
        await producer.send_and_wait(topic, value=one.value, key=key, headers=one.headers)


async def records_on(settings: Settings, topic: str) -> list[tuple[dict[str, str], bytes]]:
    """Return (headers, value) of every record now on a topic."""
    consumer = kafka.consumer(settings)
    consumer.subscribe([settings.topic_prefix + topic])
    await consumer.start()
    try:
        found = []
        for _ in range(6):
            for batch in (await consumer.getmany(timeout_ms=300)).values():
                found += [({n: v.decode() for n, v in r.headers}, r.value) for r in batch]
        return found
    finally:
        await consumer.stop()


async def receipts_on(settings: Settings) -> list[dict[str, Any]]:
    """Return the receipts now on their topic."""
    return [json.loads(value) for _, value in await records_on(settings, "dongui.receipts.v1")]


async def until(pool: Any, statement: str, expected: Any, *arguments: Any, timeout_s: float = 20) -> None:
    """Wait until a statement's value is `expected`; fail with what it was."""
    found = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while (found := await pool.fetchval(statement, *arguments)) != expected:
                await asyncio.sleep(0.05)
    assert found == expected


def taken(*notices: Sealed, first_offset: int = 0) -> list[ConsumerRecord[Any, Any]]:
    """Return notices as a consumer hands them over."""
    return [
        a_record(NOTICES, first_offset + offset, one.notice.member_ref, one.value, one.headers)
        for offset, one in enumerate(notices)
    ]


def a_record(
    topic: str, offset: int, key: str, value: bytes, headers: list[tuple[str, bytes]]
) -> ConsumerRecord[Any, Any]:
    """Return a record as a consumer hands it over."""
    return ConsumerRecord(
        topic=topic,
        partition=0,
        offset=offset,
        timestamp=0,
        timestamp_type=0,
        key=key.encode(),
        value=value,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=tuple(headers),
    )


def called_back(one: Sealed) -> ConsumerRecord[Any, Any]:
    """Return the receipt, as a consumer hands it over, that the consent service makes of a third party's callback."""
    said = Receipt(
        change_id=one.notice.change_id,
        member_ref=one.notice.member_ref,
        seq=one.notice.seq,
        recipient=one.notice.recipient,
        kind="third_party",
        stage="applied",
        at=AT,
        outcome="not_held",
        reason="deleted_before",
    )
    envelope = Envelope(
        id=str(uuid.uuid4()),
        type=RECEIPT_TYPE,
        source="/dongui/consent",
        subject=said.member_ref,
        sequence=said.seq,
        previous=0,
        time=AT,
        dataschema="urn:dongui:receipt:v1",
        content_type="application/json",
        change_id=said.change_id,
    )
    headers = [(name, text.encode()) for name, text in to_headers(envelope).items()]
    return a_record(RECEIPTS, 0, said.member_ref, codec.encode_clear(said, envelope), headers)


@contextlib.asynccontextmanager
async def sending(
    settings: Settings, *, timeout_s: float = 20.0, pause: timedelta | None = None, **changes: Any
) -> AsyncIterator[Parts]:
    """Run the sender alone while the block runs, without jitter.

    `pause` is the circuit's, `changes` are of the Sender.
    """
    async with app.build(settings, timeout_s=timeout_s) as parts:
        numbers = parts.sender.attempts.plan
        if pause is not None:
            numbers = dataclasses.replace(
                numbers, circuit=dataclasses.replace(numbers.circuit, pause=pause, pause_max=pause)
            )
        attempts = dataclasses.replace(parts.sender.attempts, jitter=lambda: 0.0, plan=numbers)
        sender = dataclasses.replace(parts.sender, attempts=attempts, **changes)
        running = [sender.run(parts.stop), by_hand.run(attempts, parts.by_hand, parts.stop)]
        ended = asyncio.gather(*running)
        try:
            yield parts
        finally:
            parts.stop.set()
            await asyncio.wait_for(ended, 15)


@contextlib.asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[Parts]:
    """Run the whole process in this loop while the block runs."""
    async with app.build(settings) as parts:
        running = asyncio.create_task(app.work(parts))
        try:
            yield parts
        finally:
            parts.stop.set()
            await asyncio.wait_for(running, 15)


async def due_now(parts: Parts) -> None:
    """Bring every open notice's next attempt forward, as if its time had passed."""
    await parts.pool.execute("UPDATE notice SET due_at = now() WHERE closed_at IS NULL")


Dongui = Callable[..., Awaitable[Result]]


@pytest.fixture
def dongui(databases: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dongui:
    """The command line of this test's installation, in the production profile unless told otherwise."""
    seed = tmp_path / "dongui.key"
    seed.write_bytes(SEED)

    async def run(*arguments: str, profile: str = "production") -> Result:
        monkeypatch.setenv("DONGUI_PROFILE", profile)
        monkeypatch.setenv("DONGUI_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setenv("DONGUI_NOTICES_DSN", databases.dsn("notices"))
        monkeypatch.setenv("DONGUI_WEBHOOK_SIGNING_KEY_FILE", str(seed))
        words = ["third-party", *arguments]
        return await asyncio.to_thread(CliRunner().invoke, cli.build(words), words)

    return run

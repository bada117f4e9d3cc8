"""A consent process inside the test's loop: real HTTP, real PostgreSQL, real Kafka, tokens of our own issuer."""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import uvicorn
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from joserfc import jwt
from joserfc.jwk import OKPKey
from pydantic import SecretStr

from schemas import codec
from schemas.base import Shape
from schemas.envelope import Envelope, from_headers
from schemas.topics import FACTS, NOTICES, RECEIPTS, affiliate_topic
from services.consent import app as composition
from services.consent.handlers import Consent
from services.devstack.provision import AFFILIATES
from services.keyring import derive, kek
from services.runtime.settings import Settings
from tests.support.databases import Databases
from tests.support.kept import KEPT

TOPICS = (FACTS, NOTICES, RECEIPTS, *map(affiliate_topic, AFFILIATES))
ISSUER_KEY = OKPKey.generate_key("Ed25519", {"kid": "test"})
OLD_KEY = OKPKey.generate_key("Ed25519", {"kid": "other"})


def a_token(
    sub: str, *roles: str, key: OKPKey = ISSUER_KEY, header: dict[str, Any] | None = None, **claims: Any
) -> str:
    """Return a token as the issuer makes it; claims given replace the right ones, None removes one."""
    now = int(time.time())
    right = {"iss": "https://issuer.dongui.localhost", "aud": "dongui", "sub": sub, "exp": now + 24 * 3600}
    body = {k: v for k, v in (right | {"roles": list(roles)} | claims).items() if v is not None}
    return jwt.encode(header or {"alg": "Ed25519", "kid": "test"}, body, key, algorithms=["Ed25519", "EdDSA"])


def settings_in(folder: Path, stack: Any, databases: Any, prefix: str) -> Settings:
    """Settings of one consent process on this test's databases and topics, with fresh keys."""
    kek.generate(folder / "kek")
    (folder / "index.key").write_bytes(os.urandom(32))
    public = ISSUER_KEY.as_dict(private=False)
    (folder / "jwks.json").write_bytes(orjson.dumps({"keys": [public]}))
    return Settings(
        profile="dev",
        kafka=stack.bootstrap,
        topic_prefix=prefix,
        consent_dsn=SecretStr(databases.dsn("consent")),
        keyring_dsn=SecretStr(databases.dsn("keyring")),
        kek_file=folder / "kek",
        email_index_key_file=folder / "index.key",
        jwks_file=folder / "jwks.json",
        data_dir=folder,
    )


@dataclass
class Service:
    """What a test of the consent service holds on to."""

    settings: Settings
    databases: Databases
    consent: Consent
    http: httpx.AsyncClient
    relay: Any
    url: str
    starts: dict[TopicPartition, int] = field(default_factory=dict)

    @property
    def pool(self) -> asyncpg.Pool:
        return self.consent.pool

    async def post(self, path: str, body: Any = None, *, key: str | None = None, **kwargs: Any) -> httpx.Response:
        """POST with a fresh Idempotency-Key unless one is given."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4())} | kwargs.pop("headers", {})
        return await self.http.post(path, json=body, headers=headers, **kwargs)

    async def sign_up(self, **changes: Any) -> dict[str, Any]:
        answer = await self.post("/v1/members", a_sign_up(**changes))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def patch(self, ref: str, seq: int, body: Any, **headers: str) -> httpx.Response:
        return await self.http.patch(f"/v1/members/{ref}", json=body, headers={"If-Match": f'"{seq}"'} | headers)

    async def put(self, ref: str, seq: int, purpose: str, body: Any, **headers: str) -> httpx.Response:
        path = f"/v1/members/{ref}/consents/{purpose}"
        whole = {"notice_version": "2021-02-22"} | body
        return await self.http.put(path, json=whole, headers={"If-Match": f'"{seq}"'} | headers)

    async def relayed(self) -> None:
        """Wait until the outbox is empty."""
        async with asyncio.timeout(20):
            while await self.pool.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"):
                await asyncio.sleep(0.02)

    async def open_record(self, topic: str, found: Any) -> tuple[Envelope, Shape]:
        """Return a record's envelope and shape, opened with the key the member's key gives."""
        envelope = from_headers(found.headers)
        if not codec.is_sealed(envelope):
            return envelope, codec.decode_clear(envelope, found.value)
        kid = codec.kid_of(found.value)
        data_key = await self.consent.keyring.data_key(envelope.subject)
        key = derive.content_key(data_key, kid)
        return envelope, codec.unseal(envelope, found.value, key=key, topic=topic)

    async def records(self, topic: str) -> list["ConsumerRecord[Any, Any]"]:
        """Return everything on a logical topic now, in order per partition."""
        await self.relayed()
        return await read_all(self.settings, topic, self.starts)

    async def begin(self) -> None:
        """Forget what is on the topics: this test starts at their present ends."""
        async with reading(self.settings) as consumer:
            self.starts = await consumer.end_offsets([p for t in TOPICS for p in partitions_of(self.settings, t)])

    async def shapes(self, topic: str) -> list[Shape]:
        return [(await self.open_record(topic, r))[1] for r in await self.records(topic)]

    async def sent_to(self, affiliate: str) -> list[Shape]:
        return await self.shapes(affiliate_topic(affiliate))


async def read_all(
    settings: Settings, topic: str, starts: Mapping[TopicPartition, int]
) -> list["ConsumerRecord[Any, Any]"]:
    """Read a topic from where the test began to its present end."""
    async with reading(settings) as consumer:
        partitions = partitions_of(settings, topic)
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, starts.get(partition, 0))
        ends = await consumer.end_offsets(partitions)
        left = sum(ends[p] - starts.get(p, 0) for p in partitions)
        found: list[ConsumerRecord[Any, Any]] = []
        async with asyncio.timeout(20):
            while len(found) < left:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += batch
        return sorted(found, key=lambda r: (r.partition, r.offset))


@contextlib.asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


def partitions_of(settings: Settings, topic: str) -> list[TopicPartition]:
    return [TopicPartition(settings.topic_prefix + topic, p) for p in range(8)]


def a_sign_up(**changes: Any) -> dict[str, Any]:
    """A complete sign-up body; values given replace, None removes."""
    body = {
        "email": f"m{uuid.uuid4().hex[:12]}@example.com",
        "password": "correct horse battery",
        "name": "홍길동",
        "profiles": [],
        "consents": {"collection": True, "sharing": True, "marketing": {"use": False}},
        "notice_version": "2021-02-22",
    }
    return {k: v for k, v in (body | changes).items() if v is not None}


@contextlib.asynccontextmanager
async def running(settings: Settings, databases: Databases, *, relay: bool = True) -> AsyncIterator[Service]:
    """Serve on a free port inside this loop, with the relay and the receipts follower beside it."""
    async with composition.build(settings) as (consent, relayer):
        server = uvicorn.Server(composition.server_config(settings.model_copy(update={"consent_port": 0}), consent))
        stop = asyncio.Event()
        tasks = [asyncio.create_task(server._serve())]
        if relay:
            tasks += [
                asyncio.create_task(relayer.run(stop)),
                asyncio.create_task(composition.follow_receipts(settings, consent, stop)),
            ]
        while not server.started:
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        token = a_token("shop", "service")
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, limits=KEPT, timeout=30) as client:
            try:
                yield Service(settings, databases, consent, client, relayer, url)
            finally:
                stop.set()
                server.should_exit = True
        await asyncio.wait_for(asyncio.gather(*tasks), 20)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}

"""The real notices process, and notices published for it: what `dead` and `notices` have in common."""

import asyncio
import math
import time
from collections.abc import Iterable

import orjson
from aiokafka import AIOKafkaProducer

from benchmarks.crowd import Crowd, Sealed
from benchmarks.servers import Servers
from benchmarks.watch import Process
from schemas.topics import NOTICES, RECEIPTS, all_topics, dlq_of
from services.devstack import topics

DATABASE = "notices"


async def make_topics(on: Servers, prefix: str) -> None:
    """Make the topics that the process reads and writes, under a prefix."""
    wanted = {NOTICES, RECEIPTS, dlq_of(NOTICES)}
    await topics.create(on.stack.bootstrap, [t for t in all_topics(()) if t.name in wanted], prefix=prefix)


def process(on: Servers, crowd: Crowd, *, keys: str, prefix: str, database: str) -> Process:
    """Return the real process, from the topics under `prefix` through `database` to the crowd."""
    seed = on.folder / "webhook.key"
    seed.write_bytes(bytes(range(32)))
    variables = {
        "DONGUI_PROFILE": "dev",
        "DONGUI_KAFKA": on.stack.bootstrap,
        "DONGUI_TOPIC_PREFIX": prefix,
        "DONGUI_NOTICES_DSN": on.access.dsn(DATABASE, database),
        "DONGUI_NOTICES_TOKEN": "the-notices-token",
        "DONGUI_CONSENT_URL": keys,
        "DONGUI_WEBHOOK_SIGNING_KEY_FILE": str(seed),
        "DONGUI_THIRD_PARTIES": orjson.dumps(crowd.settings()).decode(),
        "DONGUI_DATA_DIR": str(on.folder / f"{prefix}data"),
        "DONGUI_LOG_LEVEL": "ERROR",
    }
    return Process(["-m", "services.propagator", "--notices"], variables)


async def publish(bootstrap: str, topic: str, made: Iterable[Sealed], rate: float = math.inf) -> dict[str, float]:
    """Publish so many a second; return when the broker acknowledged each notice, in Unix seconds, by notice id."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    await producer.start()
    published: dict[str, float] = {}

    async def one(notice: Sealed) -> None:
        key = notice.notice.member_ref.encode()
        await producer.send_and_wait(topic, value=notice.value, key=key, headers=notice.headers)
        published[notice.notice.notice_id] = time.time()

    loop = asyncio.get_running_loop()
    start, tasks = loop.time(), []
    try:
        for number, notice in enumerate(made):
            await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
            tasks.append(asyncio.create_task(one(notice)))
        await asyncio.gather(*tasks)
    finally:
        await producer.stop()
    return published

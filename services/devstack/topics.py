"""Creates the contract's topics on a broker, as often as you like; never changes one that is there."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from schemas.topics import Topic
from services.devstack.errors import DevstackError

CREATED, EXISTS = 0, TopicAlreadyExistsError.errno
VISIBLE_TIMEOUT_S = 15.0
POLL_S = 0.05
REPLICAS_MAX = 3
SEGMENT_MS = 24 * 60 * 60 * 1000


async def create(
    bootstrap: str,
    topics: Iterable[Topic],
    *,
    prefix: str = "",
    replicas: int | None = 1,
    security: Mapping[str, Any] | None = None,
) -> list[str]:
    """Create what is missing of `topics` under `prefix`; return the names created.

    `replicas` None takes three, or one per broker when there are fewer; `security` is what a client needs beside
    the address (services.runtime.kafka.client_options).
    Raises DevstackError when a topic is there with another partition count: members would change partition.
    """
    wanted = {prefix + t.name: t for t in topics}
    admin = AIOKafkaAdminClient(**(dict(security or {}) | {"bootstrap_servers": bootstrap}))
    await admin.start()
    try:
        copies = replicas or min(REPLICAS_MAX, len((await admin.describe_cluster())["brokers"]))
        existing = await _partitions(admin, set(wanted) & set(await admin.list_topics()))
        _require_same(wanted, existing)
        missing = sorted(wanted.keys() - existing.keys())
        await _create(admin, [_new(name, wanted[name], copies) for name in missing])
        await _visible(admin, wanted)
        return missing
    finally:
        await admin.close()


async def delete(bootstrap: str, prefix: str, *, security: Mapping[str, Any] | None = None) -> None:
    """Delete every topic under a prefix, which may not be empty; `security` as in `create`."""
    if not prefix:
        raise ValueError("an empty prefix would delete every topic")
    admin = AIOKafkaAdminClient(**(dict(security or {}) | {"bootstrap_servers": bootstrap}))
    await admin.start()
    try:
        names = [name for name in await admin.list_topics() if name.startswith(prefix)]
        if names:
            await admin.delete_topics(names)
    finally:
        await admin.close()


def in_sync(replicas: int) -> int:
    """Return how many replicas must hold a record before it is acknowledged: all but one."""
    return max(1, replicas - 1)


def _new(name: str, topic: Topic, replicas: int) -> NewTopic:
    configs = {
        "retention.ms": str(topic.retention_ms),
        "cleanup.policy": "delete",
        # With acks=all a record is acknowledged by two of three: the loss of any one broker loses none.
        "min.insync.replicas": str(in_sync(replicas)),
        "segment.ms": str(SEGMENT_MS),
    }
    return NewTopic(name, topic.partitions, replicas, topic_configs=configs)


async def _create(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> None:
    if not topics:
        return
    answer = await admin.create_topics(topics)
    for name, code, *_ in answer.topic_errors:
        if code not in (CREATED, EXISTS):
            raise DevstackError(f"topic {name} could not be created: {for_code(code).__name__}")


async def _partitions(admin: AIOKafkaAdminClient, names: set[str]) -> dict[str, int]:
    if not names:
        return {}
    described = await admin.describe_topics(sorted(names))
    return {t["topic"]: len(t["partitions"]) for t in described if t["error_code"] == 0}


def _require_same(wanted: dict[str, Topic], existing: dict[str, int]) -> None:
    wrong = [
        f"{n} has {count}, not {wanted[n].partitions}" for n, count in existing.items() if count != wanted[n].partitions
    ]
    if wrong:
        raise DevstackError(
            f"partition counts differ from the contract: {'; '.join(sorted(wrong))}. They never change in place: "
            "a member's records would lose their order. Create a new topic version, or reset a laptop's stack."
        )


async def _visible(admin: AIOKafkaAdminClient, wanted: dict[str, Topic]) -> None:
    """Wait until the broker's metadata shows every partition, so that the first producer finds its leader."""
    deadline = asyncio.get_running_loop().time() + VISIBLE_TIMEOUT_S
    while await _partitions(admin, set(wanted)) != {n: t.partitions for n, t in wanted.items()}:
        if asyncio.get_running_loop().time() > deadline:
            raise DevstackError("the broker did not show the new topics in time; see its log")
        await asyncio.sleep(POLL_S)

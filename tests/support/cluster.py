"""What several brokers say of themselves: who leads which partition, who is in sync, who is the controller."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from tests.support.consumer_groups import run_tool

QUORUM = "org.apache.kafka.tools.MetadataQuorumCommand"
POLL_S = 0.1
NO_LEADER = -1


@dataclass(frozen=True)
class Partition:
    """One partition as a broker's metadata shows it; `leader` is -1 while there is none."""

    topic: str
    number: int
    leader: int
    replicas: frozenset[int]
    in_sync: frozenset[int]


class Cluster:
    """Asks the brokers of one cluster, whichever of them answers."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    async def partitions(self) -> list[Partition]:
        """Return every partition of every topic, Kafka's own included; raise KafkaError when no broker answers."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, request_timeout_ms=3000)
        try:
            await admin.start()
            described = await admin.describe_topics(await admin.list_topics())
        finally:
            await admin.close()
        return [
            Partition(t["topic"], p["partition"], p["leader"], frozenset(p["replicas"]), frozenset(p["isr"]))
            for t in described
            for p in t["partitions"]
        ]

    async def settings(self, name: str, topics: set[str]) -> dict[str, str]:
        """Return one setting of each topic as it is in effect there."""
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic, {name: None}) for topic in topics]
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        try:
            await admin.start()
            answers = await admin.describe_configs(asked)
        finally:
            await admin.close()
        return {topic: values[0][1] for a in answers for _code, _why, _type, topic, values in a.resources}

    async def change_ids(self, topic: str) -> set[str]:
        """Read a topic from its beginning to its end; return the changes its records belong to."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap)
        await consumer.start()
        found: set[str] = set()
        try:
            mine = [TopicPartition(topic, p.number) for p in await self.partitions() if p.topic == topic]
            consumer.assign(mine)
            await consumer.seek_to_beginning(*mine)
            for partition, end in (await consumer.end_offsets(mine)).items():
                while await consumer.position(partition) < end:
                    records = (await consumer.getmany(partition, timeout_ms=500)).get(partition, [])
                    found |= {dict(record.headers)["ce_changeid"].decode() for record in records}
        finally:
            await consumer.stop()
        return found

    async def leader_of(self, topic: str, number: int) -> int:
        """Return the node that leads a partition, -1 for none."""
        return next(p.leader for p in await self.partitions() if (p.topic, p.number) == (topic, number))

    async def controller(self) -> int:
        """Return the node that leads the controllers' quorum, by Kafka's own tool: metadata names any live broker."""
        printed = await run_tool(QUORUM, ["--bootstrap-server", self._bootstrap, "describe", "--status"])
        found = re.search(r"LeaderId:\s+(\d+)", printed)
        assert found, printed
        return int(found[1])

    async def led_without(self, node: int, timeout_s: float = 60.0) -> float:
        """Wait until every partition has a leader other than `node`; return the seconds that took."""

        def moved(found: list[Partition]) -> bool:
            return all(p.leader not in {node, NO_LEADER} for p in found)

        return await self._until(moved, timeout_s)

    async def whole(self, timeout_s: float = 60.0) -> float:
        """Wait until every replica of every partition is in sync; return the seconds that took."""
        return await self._until(lambda found: all(p.in_sync == p.replicas for p in found), timeout_s)

    async def _until(self, true: Callable[[list[Partition]], bool], timeout_s: float) -> float:
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with asyncio.timeout(timeout_s):
            while not await self._holds(true):
                await asyncio.sleep(POLL_S)
        return loop.time() - started

    async def _holds(self, true: Callable[[list[Partition]], bool]) -> bool:
        try:
            return true(await self.partitions())
        except (KafkaError, OSError):
            return False  # the node that was asked is the one that is away

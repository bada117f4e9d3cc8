"""What somebody could try on Kafka, as requests: a client library would stop half of them before the wire.

Each attempt answers with the error codes of the broker.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import (
    AlterConfigsRequest,
    CreateAclsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeAclsRequest,
    DescribeConfigsRequest,
    DescribeGroupsRequest,
)
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import JoinGroupRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.struct import Struct
from aiokafka.protocol.types import Array, Schema
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from services.devstack import scram

OK: Final = frozenset({0})
DENIED: Final = frozenset({29, 30, 31})
"""Topic, group and cluster authorisation failed."""
NOT_YET: Final = frozenset({14, 15, 16})
"""The coordinator of a group is only being made."""
WAIT_MS = 10_000
TOPIC, TOPIC_RESOURCE, ANY, ALLOW, LITERAL, ALL = 2, 2, 1, 3, 3, 2

Make = Callable[[str], Any]


def a_batch() -> bytes:
    """One record batch as a producer sends it."""
    batch = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 9999)
    batch.append(0, int(time.time() * 1000), b"key", b"planted", [])
    return bytes(batch.build())


READ: Final[Mapping[str, Make]] = {
    "fetch": lambda t: FetchRequest(100, 0, 1_000_000, 0, [(t, [(0, 0, 1_000_000)])]),
}
WRITE: Final[Mapping[str, Make]] = {
    "produce": lambda t: ProduceRequest(None, -1, WAIT_MS, [(t, [(0, a_batch())])]),
}
DESCRIBE: Final[Mapping[str, Make]] = {
    "describe": lambda t: MetadataRequest([t], False),
    "list offsets": lambda t: OffsetRequest(-1, 0, [(t, [(0, -1)])]),
}
ALTER: Final[Mapping[str, Make]] = {
    "describe configs": lambda t: DescribeConfigsRequest([(TOPIC_RESOURCE, t, None)], False),
    "alter configs": lambda t: AlterConfigsRequest([(TOPIC_RESOURCE, t, [("retention.ms", "1")])], False),
    "add partitions": lambda t: CreatePartitionsRequest([(t, (99, None))], WAIT_MS, False),
    "delete records": lambda t: DeleteRecordsRequest([(t, [(0, 0)])], WAIT_MS, {}),
    "delete": lambda t: DeleteTopicsRequest([t], WAIT_MS),
    "create": lambda t: CreateTopicsRequest([(f"{t}.mine", 1, 1, [], [])], WAIT_MS, False),
}
# In this order: the first is what makes the broker make its groups' topic.
GROUP_DESCRIBE: Final[Mapping[str, Make]] = {
    "find coordinator": lambda g: FindCoordinatorRequest(g, 0),
    "describe group": lambda g: DescribeGroupsRequest([g]),
    "read offsets": lambda g: OffsetFetchRequest(g, None),
}
GROUP_READ: Final[Mapping[str, Make]] = {
    "join": lambda g: JoinGroupRequest(g, 10_000, 10_000, "", None, "consumer", [("range", b"")]),
}


def commits(group: str, topic: str) -> Any:
    """Return a commit outside any generation: what an offset reset sends."""
    return OffsetCommitRequest(group, -1, "", -1, [(topic, [(0, 0, "")])])


def grants(principal: str, topic: str) -> Any:
    """Return the request with which somebody gives a principal every right on a topic."""
    return CreateAclsRequest(TOPIC, topic, LITERAL, f"User:{principal}", "*", ALL, ALLOW)


def takes_over(principal: str) -> Any:
    """Return the request that sets a password of one's own for somebody else's user."""
    return scram.Alter({principal: "stolen"})


def reads_acls() -> Any:
    """Return the request for every ACL of the cluster."""
    return DescribeAclsRequest(ANY, None, ANY, None, None, ANY, ANY)


class Client:
    """One principal's connection."""

    def __init__(self, admin: AIOKafkaAdminClient) -> None:
        self._admin = admin

    async def send(self, request: Any) -> Any:
        """Return the broker's answer."""
        node = self._admin._client.get_random_node()
        return await self._admin._send_request_to_node(node, request)

    async def codes(self, request: Any) -> frozenset[int]:
        """Return the error codes in the answer to a request, asking again while a coordinator is being made."""
        async with asyncio.timeout(20):
            while True:
                answer = await self.send(request)
                found = frozenset(_codes(answer.SCHEMA, answer))
                if not found & NOT_YET:
                    return found
                await asyncio.sleep(0.05)


@asynccontextmanager
async def connected(options: Mapping[str, Any]) -> AsyncIterator[Client]:
    """Log in and yield the connection."""
    admin = AIOKafkaAdminClient(**options)
    await admin.start()
    try:
        yield Client(admin)
    finally:
        await admin.close()


def _codes(schema: Schema, found: Any) -> Iterator[int]:
    """Yield every `error_code` in an answer. aiokafka's own `to_object` stumbles over an array that is null."""
    for index, (name, kind) in enumerate(zip(schema.names, schema.fields, strict=True)):
        value = found.get_item(name) if isinstance(found, Struct) else found[index]
        if name == "error_code":
            yield value
        elif isinstance(kind, Array) and isinstance(kind.array_of, Schema):
            for one in value or ():
                yield from _codes(kind.array_of, one)

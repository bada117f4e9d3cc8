"""The fixtures themselves: databases are fresh, closed to each other's roles, and can be cut off."""

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.support.databases import Databases
from tests.support.servers import Servers


@pytest.mark.f(30)
async def test_a_process_role_reaches_its_own_database_only(databases: Databases) -> None:
    own = await asyncpg.connect(databases.dsn("audit"))
    assert await own.fetchval("SELECT current_user") == "audit"
    await own.close()
    foreign = databases.dsn("audit").replace(databases.name("audit"), databases.name("retention"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(foreign)


async def test_a_blocked_database_refuses_until_it_is_opened_again(databases: Databases) -> None:
    connection = await asyncpg.connect(databases.dsn("retention"))
    async with databases.blocked("retention"):
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
            await connection.execute("SELECT 1")
        with pytest.raises(asyncpg.PostgresError):
            await asyncpg.connect(databases.dsn("retention"))
    reopened = await asyncpg.connect(databases.dsn("retention"))
    assert await reopened.fetchval("SELECT 1") == 1
    await reopened.close()


async def test_every_topic_of_the_contract_takes_and_gives_records(stack: Servers, topic_prefix: str) -> None:
    topic = f"{topic_prefix}dongui.facts.v1"
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap)
    await producer.start()
    await producer.send_and_wait(topic, b"value", key=b"key")
    await producer.stop()
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=stack.bootstrap, auto_offset_reset="earliest", group_id=topic)
    await consumer.start()
    assert (await consumer.getone()).value == b"value"
    await consumer.stop()

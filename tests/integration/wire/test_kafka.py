"""F30 on Kafka: every affiliate tries everything of every other one; the whole table against every topic and group.

A denial is what the broker answers to the request itself; the same requests pass where they are allowed.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import permutations, product
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from schemas.topics import FACTS, NOTICES, RECEIPTS, RETENTION, SUPPRESSIONS, affiliate_topic, all_topics, dlq_of
from services.commands import conformance, setup
from services.devstack import certificates, principals
from services.devstack.provision import AFFILIATES
from services.runtime import acls
from services.runtime.acls import (
    BROKER,
    NOTICES_GROUP,
    OPERATOR,
    SETUP,
    Acl,
    backend_group,
    propagator_group,
    propagator_principal,
)
from services.runtime.clock import utc_now
from services.runtime.settings import Settings
from tests.integration.wire import attempts
from tests.integration.wire.attempts import DENIED, OK, Client, connected
from tests.integration.wire.conftest import Closed

PAIRS = list(permutations(AFFILIATES, 2))
TOPICS = sorted(t.name for t in all_topics(AFFILIATES))
GROUPS = sorted([NOTICES_GROUP, *(make(a) for a in AFFILIATES for make in (backend_group, propagator_group))])
Attempt = tuple[str, Any]


@pytest_asyncio.fixture(scope="module")
async def clients(closed: Closed) -> AsyncIterator[dict[str, Client]]:
    """A connection of every principal."""
    async with AsyncExitStack() as stack:
        yield {who: await stack.enter_async_context(connected(closed.client(who))) for who in [*closed.table, SETUP]}


def of_topic(topic: str) -> Iterator[Attempt]:
    """Everything there is to do with a topic."""
    for part in (attempts.DESCRIBE, attempts.READ, attempts.WRITE, attempts.ALTER):
        yield from ((f"{name} {topic}", make(topic)) for name, make in part.items())


def of_group(group: str, topic: str) -> Iterator[Attempt]:
    """Everything there is to do with a group."""
    for part in (attempts.GROUP_DESCRIBE, attempts.GROUP_READ):
        yield from ((f"{name} {group}", make(group)) for name, make in part.items())
    yield (f"commit {group}", attempts.commits(group, topic))


def against(other: str, me: str) -> Iterator[Attempt]:
    """Everything to try of another affiliate."""
    topic = affiliate_topic(other)
    yield from of_topic(topic)
    yield from of_topic(dlq_of(topic))
    for group in (backend_group(other), propagator_group(other)):
        yield from of_group(group, topic)
    for victim in (me, propagator_principal(me)):
        yield (f"grant {victim} {topic}", attempts.grants(victim, topic))
    for victim in (other, propagator_principal(other)):
        yield (f"take over {victim}", attempts.takes_over(victim))
    yield ("read ACLs", attempts.reads_acls())


async def test_no_affiliate_gets_at_anything_of_another(closed: Closed, clients: dict[str, Client]) -> None:
    tried, let_through = 0, []
    for me, other in PAIRS:
        for who in (me, propagator_principal(me)):
            for name, request in against(other, me):
                tried += 1
                found = await clients[who].codes(request)
                if not found or not found <= DENIED | {0} or not found & DENIED:
                    let_through.append((who, name, sorted(found)))
    print(f"affiliates against each other on Kafka: {tried} attempts, {tried - len(let_through)} denied")
    assert let_through == []
    assert tried == 6 * 2 * (10 * 2 + 5 * 2 + 2 + 2 + 1) == 420


async def test_each_affiliate_gets_at_what_is_its_own(closed: Closed, clients: dict[str, Client]) -> None:
    """So that the denials above are not those of a broker that denies everything."""
    producer = AIOKafkaProducer(**closed.client("consent"), enable_idempotence=True)
    await producer.start()
    try:
        for affiliate in AFFILIATES:
            await producer.send_and_wait(affiliate_topic(affiliate), affiliate.encode(), key=b"ref")
    finally:
        await producer.stop()
    mine = [(a, a, backend_group(a)) for a in AFFILIATES]
    mine += [(a, propagator_principal(a), propagator_group(a)) for a in AFFILIATES]
    for affiliate, who, group in mine:
        topic, value = affiliate_topic(affiliate), affiliate.encode()
        assert value in await consumed(closed, who, topic, group, value)
        assert not await clients[who].codes(attempts.commits(group, topic)) & DENIED


async def consumed(closed: Closed, who: str, topic: str, group: str, wanted: bytes) -> set[bytes]:
    """Join the group, read the topic until a value comes, commit; return the values."""
    consumer = AIOKafkaConsumer(
        topic, **closed.client(who), group_id=group, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            found = {(await consumer.getone()).value}
            while wanted not in found:
                found.add((await consumer.getone()).value)
            await consumer.commit()
            return found
    finally:
        await consumer.stop()


def expected(table: acls.Table, who: str, kind: acls.Kind, name: str) -> set[str]:
    """Return what the table allows; each of the two rights implies describing."""
    given = {a.operation for a in table[who] if (a.kind, a.name) == (kind, name)}
    return given | ({"DESCRIBE"} if given else set())


async def test_every_principal_may_do_what_its_row_says_and_nothing_else(
    closed: Closed, clients: dict[str, Client]
) -> None:
    operations = {"READ": attempts.READ, "WRITE": attempts.WRITE, "DESCRIBE": attempts.DESCRIBE}
    tried, wrong = 0, []
    for who, topic in product(closed.table, TOPICS):
        allowed = expected(closed.table, who, "topic", topic)
        for operation, requests in operations.items():
            for name, make in requests.items():
                tried += 1
                found = await clients[who].codes(make(topic))
                if found != OK if operation in allowed else not found & DENIED:
                    wrong.append((who, name, topic, sorted(found)))
    for who, group in product(closed.table, GROUPS):
        allowed = expected(closed.table, who, "group", group)
        requests = [("DESCRIBE", make(group)) for make in attempts.GROUP_DESCRIBE.values()]
        requests += [("READ", make(group)) for make in attempts.GROUP_READ.values()]
        for operation, request in requests:
            tried += 1
            found = await clients[who].codes(request)
            if bool(found & DENIED) == (operation in allowed):
                wrong.append((who, operation, group, sorted(found)))
    print(f"the whole table: {tried} attempts, {tried - len(wrong)} as it says")
    assert wrong == []
    assert tried == len(closed.table) * (len(TOPICS) * 4 + len(GROUPS) * 4) == 12 * (15 * 4 + 7 * 4)


async def test_nobody_but_setup_creates_deletes_or_alters(closed: Closed, clients: dict[str, Client]) -> None:
    tried, let_through = 0, []
    for who, topic in product(closed.table, TOPICS):
        for name, make in attempts.ALTER.items():
            tried += 1
            found = await clients[who].codes(make(topic))
            if not found & DENIED:
                let_through.append((who, name, topic, sorted(found)))
    for who in closed.table:
        for request in (attempts.grants(who, FACTS), attempts.takes_over(SETUP), attempts.reads_acls()):
            tried += 1
            if not await clients[who].codes(request) & DENIED:
                let_through.append((who, type(request).__name__, "", []))
    assert let_through == []
    assert tried == 12 * (15 * 6 + 3)
    assert await clients[SETUP].codes(attempts.ALTER["describe configs"](FACTS)) == OK


def test_the_table_is_the_one_we_mean() -> None:
    """By hand, as docs/wire.md has it."""
    table = acls.table(["a"], "p-")

    def of(who: str) -> set[str]:
        return {f"{a.operation[0]} {a.name.removeprefix('p-').removeprefix('dongui.')}" for a in table[who]}

    assert of("consent") == {
        *("W facts.v1", "W affiliate.a.v1", "W notices.v1", "W receipts.v1", "W retention.v1", "W suppressions.v1"),
        *("R receipts.v1", "R suppressions.v1", "R affiliate.a.v1.dlq"),
        *(f"R {topic}.v1.dlq" for topic in ("facts", "notices", "receipts", "retention")),
    }
    assert of("propagator-a") == {
        *("R affiliate.a.v1", "R suppressions.v1", "W receipts.v1", "W affiliate.a.v1.dlq", "R dongui-propagator-a"),
    }
    assert of("a") == {"R affiliate.a.v1", "R a-backend"}
    assert of("audit") == {"R facts.v1", "R receipts.v1", "W receipts.v1"}
    assert of("console") == {"W receipts.v1"}
    assert of("notices") == {"R notices.v1", "R receipts.v1", "W receipts.v1", "W notices.v1.dlq", "R dongui-notices"}
    assert of("retention") == {"R retention.v1", "R receipts.v1", "W receipts.v1", "W retention.v1.dlq"}
    writes = {a.name for a in table[OPERATOR] if a.operation == "WRITE"}
    assert writes == {f"p-{t}" for t in (NOTICES, RETENTION, affiliate_topic("a"))}
    assert all(a.name.startswith("p-") for found in table.values() for a in found)
    assert {a.name for who in table for a in table[who] if a.operation == "WRITE" and a.name == f"p-{SUPPRESSIONS}"}


async def refused(options: dict[str, Any]) -> bool:
    """Say whether a client with these options gets nowhere."""
    admin = AIOKafkaAdminClient(**options, request_timeout_ms=3000)
    try:
        await admin.start()
    except (KafkaConnectionError, ssl.SSLError):
        return True
    finally:
        await admin.close()
    return False


async def test_nobody_logs_in_as_somebody_else(closed: Closed) -> None:
    """With one's own password, with none, or with a mechanism that would show it."""
    for me, other in [*PAIRS, ("consent", SETUP), ("tmax-os", BROKER)]:
        mine = closed.wire.passwords[me]
        assert await refused(closed.client(other) | {"sasl_plain_password": mine}), (me, other)
    own = closed.client("tmax-os")
    assert await refused(own | {"sasl_mechanism": "PLAIN"})
    assert not await refused(own)


async def test_plain_text_and_a_foreign_authority_are_refused(closed: Closed, tmp_path: Any) -> None:
    own = closed.client("tmax-os")
    assert await refused({"bootstrap_servers": closed.bootstrap})
    assert await refused(own | {"security_protocol": "SASL_PLAINTEXT", "ssl_context": None})
    assert await refused(
        {"bootstrap_servers": closed.bootstrap, "security_protocol": "SSL", "ssl_context": own["ssl_context"]}
    )
    stranger = certificates.ensure_authority(tmp_path, utc_now)
    assert await refused(own | {"ssl_context": ssl.create_default_context(cafile=stranger.certificate)})


async def test_set_up_again_changes_a_password_takes_away_what_is_too_much_and_lets_strangers_be(
    closed: Closed,
) -> None:
    table = {"x-one": frozenset({Acl("topic", RECEIPTS, "WRITE")}), "x-two": frozenset({Acl("topic", FACTS, "READ")})}
    admin = closed.client(SETUP)
    one = closed.client("console") | {"sasl_plain_username": "x-one", "sasl_plain_password": "first"}
    await principals.create(admin, {"x-one": "first", "x-two": "second"}, table)
    assert await principals.allow(admin, "x-one", [Acl("topic", FACTS, "READ")]) == 1
    assert await principals.allow(admin, "x-one", [Acl("topic", FACTS, "READ")]) == 0
    async with connected(one) as client:
        assert await client.codes(attempts.READ["fetch"](FACTS)) == OK
    await principals.create(admin, {"x-one": "changed"}, {"x-one": table["x-one"]})
    assert await refused(one)
    async with connected(one | {"sasl_plain_password": "changed"}) as client:
        assert await client.codes(attempts.READ["fetch"](FACTS)) & DENIED
        assert await client.codes(attempts.WRITE["produce"](RECEIPTS)) == OK
    async with connected(one | {"sasl_plain_username": "x-two", "sasl_plain_password": "second"}) as client:
        assert await client.codes(attempts.READ["fetch"](FACTS)) == OK


async def test_setup_makes_topics_users_and_acls_and_touches_nothing_outside_its_prefix(
    closed: Closed, clients: dict[str, Client]
) -> None:
    login = {n.removeprefix("DONGUI_").lower(): value for n, value in closed.wire.variables(SETUP).items()}
    settings = Settings(
        kafka=closed.bootstrap, topic_prefix="apart-", kafka_passwords_file=closed.wire.passwords_file, **login
    )
    assert len(await setup._on_kafka(settings, list(AFFILIATES))) == len(TOPICS)
    assert await setup._on_kafka(settings, list(AFFILIATES)) == []
    for prefix in ("", "apart-"):
        assert await clients["consent"].codes(attempts.WRITE["produce"](prefix + FACTS)) == OK, prefix
        assert await clients["consent"].codes(attempts.READ["fetch"](prefix + FACTS)) & DENIED


@pytest.mark.long
async def test_the_conformance_kit_and_the_reference_backend_run_on_a_closed_broker(closed: Closed) -> None:
    login = {n.removeprefix("DONGUI_").lower(): value for n, value in closed.wire.variables(SETUP).items()}
    found = await conformance.check(Settings(kafka=closed.bootstrap, **login), None, seed=1)
    assert len(found) > 10
    assert [v for v in found if v.faults] == []

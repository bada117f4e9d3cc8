"""How fast three affiliates' propagators work off a backlog, against the same SQL with nothing of ours around it.

The same sealed records in every run: `members` members, each signed up and then corrected. Ours are the real
processes (JWE, watermarks, gaps, receipts through the outbox); the bound is a bare aiokafka consumer in one process
per affiliate that reads the same values unsealed, runs the same statements in the same transactions, and publishes its
receipts by a bare loop. `watch` says how it is timed.
"""

import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks import harness, servers, watch
from benchmarks.crowd import key_service, travelling
from benchmarks.harness import Run
from benchmarks.servers import Servers
from benchmarks.watch import Backlog, Process
from schemas.base import Marketing
from schemas.events import FactName, MemberPart, Projection
from schemas.topics import affiliate_topic, all_topics
from services.devstack import topics
from services.devstack.provision import AFFILIATES
from services.runtime.clock import utc_now

PARTITIONS = 8
ROWS = "SELECT count(*), coalesce(sum(seq), 0)::bigint, (SELECT count(*) FROM outbox) FROM member"


@dataclass(frozen=True)
class Made:
    """One record as it travels, for one affiliate: its key, sealed value, headers, and what was sealed."""

    key: bytes
    sealed: bytes
    headers: list[tuple[str, bytes]]
    shape: Projection


Form = Callable[[Made], bytes]
"""How a record's value is written on a topic."""
FORMS: Mapping[str, Form] = {
    "sealed-": lambda made: made.sealed,
    "clear-": lambda made: orjson.dumps(made.shape.model_dump(mode="json")),
}
"""By prefix of the topics: sealed for ours, in clear for the bare one."""


async def measure(events: int, members: int, runs: int) -> dict[str, Any]:
    """Return both rates in changes a second, their ratio, and what one record costs in statements and rows."""
    async with servers.running(AFFILIATES) as on:
        bench = Bench.of(on, events, members)
        await bench.fill()
        figures = await harness.compare(bench.ours, bench.bare, runs=runs)
    return {
        "name": "apply",
        "event": "changes to three stores",
        "bound_is": "bare aiokafka + asyncpg, same SQL",
        "workload": bench.workload,
        "counters": bench.counters,
        **figures,
    }


def _made(affiliate: str, refs: Sequence[str], each: int, at: datetime) -> Iterator[Made]:
    for seq, ref in itertools.product(range(1, each + 1), refs):
        yield record(affiliate, ref, seq, at)


def record(affiliate: str, ref: str, seq: int, at: datetime) -> Made:
    """Return one member's change number `seq`: signed up, then corrected again and again."""
    shape = Projection(
        change_id=str(uuid.uuid4()),
        member_ref=ref,
        seq=seq,
        prev=seq - 1,
        at=at,
        member=MemberPart(
            email=f"{ref}@example.kr",
            name=f"이름{seq}",
            password_hash="$argon2id$v=19$m=65536,t=3,p=4$" + "x" * 64,
            status="active",
            signed_up_at=at,
        ),
        marketing=Marketing(use=True, email=True, sms=False, night=False),
        processed=None,
        suspended=(),
    )
    name: FactName = "signed_up" if seq == 1 else "corrected"
    sealed, headers = travelling(
        shape, affiliate, affiliate_topic(affiliate), "projection", name, previous=seq - 1, at=at
    )
    return Made(ref.encode(), sealed, headers, shape)


def references(count: int) -> list[str]:
    """Return the references of as many members, the same in every run."""
    return [str(uuid.UUID(int=n + 1)) for n in range(count)]


def propagators(on: Servers, keys: str, prefix: str, names: Mapping[str, str], folder: str) -> dict[str, Process]:
    """Return each affiliate's propagator, from the topics under `prefix` into the database named for it."""
    dsns = {affiliate: on.access.dsn(affiliate, name) for affiliate, name in names.items()}
    shared = {
        "DONGUI_PROFILE": "dev",
        "DONGUI_KAFKA": on.stack.bootstrap,
        "DONGUI_TOPIC_PREFIX": prefix,
        "DONGUI_AFFILIATE_DSNS": orjson.dumps(dsns).decode(),
        "DONGUI_AFFILIATE_TOKENS": orjson.dumps(dict.fromkeys(names, "a-token-of-the-benchmark")).decode(),
        "DONGUI_CONSENT_URL": keys,
        "DONGUI_RECONCILE_INTERVAL_S": "86400",
        "DONGUI_DATA_DIR": str(on.folder / folder),
        "DONGUI_LOG_LEVEL": "ERROR",
    }
    return {a: Process(["-m", "services.propagator", "--affiliate", a], shared) for a in names}


class Bench:
    """One backlog, worked off again and again into fresh databases."""

    def __init__(self, on: Servers, refs: list[str], each: int) -> None:
        self._on = on
        self.backlog = Backlog(refs, each)
        self._number = itertools.count()
        self.counters: dict[str, float] = {}

    @classmethod
    def of(cls, on: Servers, events: int, members: int) -> "Bench":
        """Return a backlog of as many changes, each member's share the same."""
        return cls(on, references(members), events // members)

    @property
    def workload(self) -> dict[str, int]:
        """What one run works off."""
        changes, members = self.backlog.changes, len(self.backlog.refs)
        return {"changes": changes, "members": members, "affiliates": len(AFFILIATES)}

    async def fill(self, forms: Mapping[str, Form] = FORMS) -> None:
        """Publish the backlog in each of these forms for each affiliate."""
        bootstrap = self._on.stack.bootstrap
        for prefix in forms:
            await topics.create(bootstrap, all_topics(AFFILIATES), prefix=prefix)
        for affiliate in AFFILIATES:
            made = _made(affiliate, self.backlog.refs, self.backlog.each, utc_now())
            await produce(bootstrap, affiliate_topic(affiliate), made, forms)

    async def ours(self) -> Run:
        """Three propagators: from the first commit to the last."""
        number = next(self._number)
        names = await self._databases(f"ours{number}")
        async with (
            key_service() as keys,
            watch.running(propagators(self._on, keys, "sealed-", names, f"run{number}")) as pids,
        ):
            run = await self._worked_off(names, pids)
        counted = {
            "statements": await self._on.statements(*names.values()),
            "rows": await self._on.rows(*names.values()),
        }
        records = self.backlog.changes * len(AFFILIATES)
        self.counters = {name: round(count / records, 4) for name, count in counted.items()}
        return run

    async def bare(self) -> Run:
        """Three bare consumers: from the first commit to the last."""
        names = await self._databases(f"bare{next(self._number)}")
        async with watch.running(self._bare(names)) as pids:
            return await self._worked_off(names, pids)

    def _bare(self, names: dict[str, str]) -> dict[str, Process]:
        argv = ["-m", "benchmarks.apply_bound", self._on.stack.bootstrap]
        return {
            a: Process([*argv, "clear-" + affiliate_topic(a), self._on.access.dsn(a, name), a], {})
            for a, name in names.items()
        }

    async def _databases(self, run: str) -> dict[str, str]:
        """Return a fresh database of each affiliate; the propagators' groups go back to the first record."""
        names = {a: f"{a}_{run}" for a in AFFILIATES}
        for affiliate, name in names.items():
            await self._on.database(affiliate, name)
            await _rewind(self._on.stack.bootstrap, affiliate)
        return names

    async def _worked_off(self, names: dict[str, str], pids: list[int]) -> Run:
        """Wait for the last commit everywhere; raise when a store is not exactly right."""
        run = await self.backlog.worked_off(map(self._on.admin_dsn, names.values()), pids)
        for name in names.values():
            await self._check(name)
        return run

    async def _check(self, name: str) -> None:
        """Every member's last change is there, and a receipt of each change."""
        changes = self.backlog.changes
        found = await servers.fetch(self._on.admin_dsn(name), ROWS)
        if [tuple(row) for row in found] != [(len(self.backlog.refs), changes, changes)]:
            raise AssertionError(f"members, sum of seq and receipts are {found}")


async def produce(bootstrap: str, topic: str, records: Iterable[Made], forms: Mapping[str, Form]) -> None:
    """Publish records on the topic under each of these prefixes, in that prefix's form."""
    options: dict[str, Any] = {"enable_idempotence": True, "linger_ms": 20, "max_batch_size": 1 << 20}
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **options)
    await producer.start()
    try:
        for made in records:
            for prefix, form in forms.items():
                await producer.send(prefix + topic, form(made), key=made.key, headers=made.headers)
        await producer.flush()
    finally:
        await producer.stop()


async def _rewind(bootstrap: str, affiliate: str) -> None:
    """A propagator's group, which nobody is in, reads from the beginning again."""
    topic = "sealed-" + affiliate_topic(affiliate)
    options: dict[str, Any] = {"group_id": f"sealed-dongui-propagator-{affiliate}", "enable_auto_commit": False}
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, **options)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.commit(dict.fromkeys(partitions, 0))
    finally:
        await consumer.stop()

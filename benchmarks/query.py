"""The audit log's queries over N entries through the HTTP application, beside the same SQL alone.

Ours answers each of the filters' questions as the audit process does, the record of the access included. The bound
fetches the rows of the same questions with the same SQL on one plain asyncpg connection, and nothing else: no HTTP, no
token, no validation, no record of the access, no JSON. It comes second and finds in memory what ours has read. After
that real records are appended to the full log, from Kafka bytes to COMMIT, to see the rate.
"""

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

import asyncpg
import httpx
import orjson
from aiokafka import ConsumerRecord

from benchmarks import harness, servers
from benchmarks.entries import BASE, Question, drawn, fill
from benchmarks.harness import Run
from benchmarks.latency import quantiles
from benchmarks.servers import Servers
from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.events import Addressee, Fact
from schemas.topics import FACTS
from services.audit import api, search, store, tree
from services.audit.leaf import Leaf, of_record
from services.audit.search import Filter, Page
from services.audit.tree import Frontier
from services.runtime import postgres
from services.runtime.auth import Principal
from services.runtime.clock import utc_now
from services.runtime.rates import Rates

LIMIT: Final = 100
WARM_UP: Final = 1
APPENDED, BATCH = 20_000, 500
LOADING: Final = {"max_wal_size": "4GB"}
NAMED: Final = {"affiliate": "recipient", "from": "start", "to": "end"}
"""Parameters of the query string that the filter calls otherwise."""
PIDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"


class Taken(NamedTuple):
    """The seconds of each question of one filter, and the processor seconds of all of them together."""

    seconds: list[float]
    cpu_s: float


class Everyone:
    """Stands for the identity provider."""

    async def principal(self, _authorization: str | None) -> Principal:
        return Principal("benchmark", frozenset({"compliance"}))


async def measure(entries: int, repeats: int, runs: int) -> dict[str, Any]:
    """Return both rates, their ratio, what one question costs, milliseconds by filter, and the rate of appending."""
    async with servers.running(["audit"], kafka=False, settings=LOADING) as on:
        loaded = await _loaded(on, entries)
        counters = await _counted(on, drawn(entries, repeats, 0))
        async with _pool(on) as pool, _client(pool) as client, servers.connected(on.access.dsn("audit")) as bare:
            bench = _Bench(client, bare, entries, repeats)
            figures = await harness.compare(bench.asked, bench.fetched, runs=runs, warm_up=WARM_UP)
            rate, append_cpu = await _append(pool, entries)
    return {
        "name": "query",
        "event": "questions",
        "bound_is": "the same SQL on plain asyncpg",
        "workload": {"entries": entries, "repeats": repeats},
        "counters": counters,
        **figures,
        **loaded,
        "filters_ms": bench.by_filter(),
        "append_per_s": rate,
        "append_cpu_ms": append_cpu,
    }


async def _loaded(on: Servers, entries: int) -> dict[str, float]:
    """Fill the log; return how long that took, and how large it is."""
    started = time.monotonic()
    async with servers.connected(on.access.owner_dsn("audit")) as owner:
        await fill(owner, entries)
        size = await owner.fetchval("SELECT pg_total_relation_size('entry')")
    await servers.execute(on.access.admin_dsn, "CHECKPOINT")  # the load's own pages are not the questions' cost
    return {"load_s": round(time.monotonic() - started, 1), "bytes": size}


@asynccontextmanager
async def _pool(on: Servers) -> AsyncIterator[asyncpg.Pool]:
    pool = await postgres.open_pool(on.access.dsn("audit"), size=4)
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def _client(pool: asyncpg.Pool) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the application, which runs in this process."""

    async def ready() -> dict[str, bool]:
        return {}

    who: Any = Everyone()
    app = api.create(pool, who, Rates(50, 5000), vkey="", clock=utc_now, ready=ready)
    staff = {"Authorization": "Bearer staff"}  # who shows no token is held to the rate of a stranger's address
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://audit", headers=staff) as client:
        yield client


class _Bench:
    """One log; both sides are asked the same questions in a round, drawn anew for the next."""

    def __init__(self, client: httpx.AsyncClient, bare: asyncpg.Connection, entries: int, repeats: int) -> None:
        self._client = client
        self._bare = bare
        self._entries = entries
        self._repeats = repeats
        self._rounds: list[dict[str, Taken]] = []

    async def asked(self) -> Run:
        """Ask the questions of a new round over HTTP."""
        found = await self._timed(partial(_ask, self._client), self._drawn(len(self._rounds) + 1))
        self._rounds.append(found)
        return _run(found)

    async def fetched(self) -> Run:
        """Fetch the rows of the questions that were just asked."""
        questions = self._drawn(len(self._rounds))
        wanted = {name: [_searched(question) for question in asked] for name, asked in questions.items()}
        return _run(await self._timed(partial(_fetch, self._bare), wanted))

    def by_filter(self) -> dict[str, dict[str, float]]:
        """Return milliseconds of a question over HTTP, and of processor, by filter; the warm-up does not count."""
        counted = self._rounds[WARM_UP:]
        return {name: _milliseconds([one[name] for one in counted]) for name in counted[0]}

    def _drawn(self, number: int) -> dict[str, list[Question]]:
        return drawn(self._entries, self._repeats, number)

    async def _timed(
        self, ask: Callable[[Any], Awaitable[object]], questions: Mapping[str, Sequence[object]]
    ) -> dict[str, Taken]:
        found = {}
        for name, asked in questions.items():
            before = await _cpu_s(self._bare)
            seconds = [await _seconds(ask(question)) for question in asked]
            found[name] = Taken(seconds, await _cpu_s(self._bare) - before)
        return found


def _run(found: Mapping[str, Taken]) -> Run:
    seconds = [one for taken in found.values() for one in taken.seconds]
    return Run(len(seconds), sum(seconds), sum(taken.cpu_s for taken in found.values()))


def _milliseconds(rounds: Sequence[Taken]) -> dict[str, float]:
    seconds = [one for taken in rounds for one in taken.seconds]
    cpu = 1000 * sum(taken.cpu_s for taken in rounds) / len(seconds)
    return quantiles([1000 * one for one in seconds]) | {"cpu": round(cpu, 1)}


async def _seconds(work: Awaitable[object]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def _ask(client: httpx.AsyncClient, question: Question) -> bytes:
    answer = await client.get("/v1/audit/entries", params=question | {"limit": str(LIMIT)})
    answer.raise_for_status()
    return answer.content


async def _fetch(bare: Any, searched: tuple[Filter, Page]) -> list[asyncpg.Record]:
    return await search.entries(bare, *searched)


def _searched(question: Question) -> tuple[Filter, Page]:
    """Return what the application makes of a question: a row more than is shown says whether there is a next page."""
    fields: dict[str, Any] = {NAMED.get(name, name): text for name, text in question.items()}
    after, order = fields.pop("cursor", None), fields.pop("order", "oldest")
    fields |= {name: datetime.fromisoformat(fields[name]) for name in ("start", "end") if name in fields}
    return Filter(**fields), Page(None if after is None else int(after), LIMIT + 1, newest=order == "newest")


async def _counted(on: Servers, questions: Mapping[str, Sequence[Question]]) -> dict[str, float]:
    """Ask these questions and return what one cost; the bound must find what the answers show."""
    asked = [question for of_filter in questions.values() for question in of_filter]
    rows = await on.rows("audit")
    async with _pool(on) as pool, _client(pool) as client:
        before = await on.statements("audit")
        answers = [await _ask(client, question) for question in asked]
        statements = await on.statements("audit") - before
    counted = {"statements": statements, "rows": await on.rows("audit") - rows, "bytes": sum(map(len, answers))}
    async with servers.connected(on.access.dsn("audit")) as bare:
        for question, answer in zip(asked, answers, strict=True):
            shown = [entry["index"] for entry in orjson.loads(answer)["entries"]]
            assert shown == [row["index"] for row in await _fetch(bare, _searched(question))][:LIMIT]
    return {name: float(f"{count / len(asked):.6g}") for name, count in counted.items()}


async def _cpu_s(connection: Any) -> float:
    """Return the processor seconds of this process and of its server processes (Linux): free of who else is running."""
    return time.process_time() + sum(servers.cpu_s(row["pid"]) for row in await connection.fetch(PIDS))


async def _append(pool: asyncpg.Pool, entries: int) -> tuple[float, float]:
    """Return leaves a second, and processor milliseconds for one, of one writer.

    Decode, canonicalise, hash, insert with all indexes, COMMIT per batch.
    """
    made = [_record(n) for n in range(APPENDED)]
    frontier = Frontier(entries, [bytes(32)] * len(tree.cover((0, entries))))
    started, before = time.perf_counter(), await _cpu_s(pool)
    for start in range(0, APPENDED, BATCH):
        leaves = [leaf for record in made[start : start + BATCH] if isinstance(leaf := of_record(record), Leaf)]
        async with pool.acquire() as tx, tx.transaction():
            await store.append(tx, frontier, leaves)
    seconds, cpu = time.perf_counter() - started, await _cpu_s(pool) - before
    return round(APPENDED / seconds), round(1000 * cpu / APPENDED, 2)


def _record(n: int) -> "ConsumerRecord[Any, Any]":
    affiliates = ("tmax-cloud", "tmax-os", "tmax-anc")
    fact = Fact(
        change="corrected",
        change_id=str(uuid.uuid4()),
        member_ref=str(uuid.uuid4()),
        seq=1,
        at=BASE + timedelta(seconds=n),
        actor="member",
        channel="web",
        items=("email", "name"),
        addressees=tuple(Addressee(id=a, kind="affiliate", rules=("3.2-share",)) for a in affiliates),
        policy_version="2021-02-22",
    )
    envelope = Envelope(
        id=str(uuid.uuid4()),
        type="kr.dongui.member.corrected.v1",
        source="/dongui/consent",
        subject=fact.member_ref,
        sequence=1,
        previous=0,
        time=fact.at,
        dataschema="urn:dongui:fact:v1",
        content_type="application/json",
        traceparent=None,
    )
    value = codec.encode_clear(fact, envelope)
    headers = tuple((name, text.encode()) for name, text in to_headers(envelope).items())
    return ConsumerRecord(FACTS, 0, n, 0, 0, b"", value, None, 0, len(value), headers)


def table(result: dict[str, Any]) -> str:
    """Return the comparison, each filter, and the rate of appending as tables for people."""
    lines = [f"{'milliseconds, ours':<44}{'p50':>10}{'p99':>10}{'max':>10}{'cpu':>8}"]
    lines += [
        f"{name:<44}{q['p50']:>10}{q['p99']:>10}{q['max']:>10}{q['cpu']:>8}" for name, q in result["filters_ms"].items()
    ]
    lines.append("cpu: the mean of client and server together; one client")
    lines.append(
        f"{result['bytes'] / 2**30:.2f} GiB; appended {result['append_per_s']:,.0f} leaves/s by one writer, "
        f"{result['append_cpu_ms']} ms of processor each"
    )
    return f"{harness.table(result)}\n" + "\n".join(lines) + "\n"

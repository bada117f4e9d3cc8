"""Everywhere a member's values could lie: tables, topics, files, metrics. Each place is searched; what is not is said.

`residue` is what a live PostgreSQL keeps beside its tables for a bounded time: the write-ahead log, and old versions
of rows in table files (docs/keys.md says for how long). A third party's own store is the outside world.
"""

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from pydantic import SecretStr

from services.commands import brokers
from services.commands.scan_forms import Finder, Stream
from services.devstack import account
from services.devstack.provision import quoted
from services.runtime import kafka
from services.runtime.settings import Settings

CHUNK: Final = 1 << 20
FETCH_MS: Final = 500
TIMEOUT_S: Final = 10.0
NOT_OURS: Final = frozenset({"jars", "partner", "run", "faust"})
"""Below the data directory: programs, the outside world's store, pids, an empty folder."""
_TABLES: Final = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY 1, 2
"""
_STATISTICS: Final = "SELECT * FROM pg_stats WHERE schemaname <> 'information_schema' AND schemaname !~ '^pg_'"
"""What ANALYZE has sampled: compressed in the table's file, so that no search of the bytes would find it."""


@dataclass
class Report:
    """Places searched, hits by place, hits in what passes by itself, and places that could not be searched."""

    places: int = 0
    hits: dict[str, int] = field(default_factory=dict)
    residue: dict[str, int] = field(default_factory=dict)
    not_searched: list[str] = field(default_factory=list)

    def note(self, place: str, hits: int, *, passing: bool = False) -> None:
        """Count one place."""
        self.places += 1
        if hits:
            found = self.residue if passing else self.hits
            found[place] = found.get(place, 0) + hits

    def shown(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


async def search(settings: Settings, finder: Finder, metrics: Iterable[str] = (), *, residue: bool = True) -> Report:
    """Search every place the settings name. Raises OSError and asyncpg.PostgresError of a server that does not answer.

    `metrics` are further /metrics URLs, beside those of the services that the settings name.
    """
    report = Report()
    await _databases(settings, finder, report)
    await _topics(settings, finder, report)
    _files(settings.data_dir, finder, report, residue)
    services = (settings.consent_url, settings.audit_url, settings.retention_url)
    urls = [f"{url.rstrip('/')}/metrics" for url in services if url]
    await _metrics([*urls, *metrics], finder, report)
    return report


async def _databases(settings: Settings, finder: Finder, report: Report) -> None:
    if not settings.owner_dsns:
        report.not_searched.append("databases (DONGUI_OWNER_DSNS is not set)")
    for name, dsn in settings.owner_dsns.items():
        async for table, hits in _tables(dsn, finder):
            report.note(f"database {name}: {table}", hits)


async def _tables(dsn: SecretStr, finder: Finder) -> AsyncIterator[tuple[str, int]]:
    """Yield (table, hits). Twice over: as text numbers and dates show, as binary what a bytea holds."""
    connection = await asyncpg.connect(dsn.get_secret_value(), timeout=TIMEOUT_S)
    try:
        for schema, table in await connection.fetch(_TABLES):
            query = f"SELECT * FROM {quoted(schema)}.{quoted(table)}"  # noqa: S608 - names of the catalogue, quoted
            found = [await _copied(connection, query, finder.stream(), form) for form in ("text", "binary")]
            yield table, max(found)
        yield "planner's statistics", await _copied(connection, _STATISTICS, finder.stream(), "text")
    finally:
        await connection.close()


async def _copied(connection: asyncpg.Connection, query: str, stream: Stream, form: Any) -> int:
    hits = 0

    async def take(chunk: bytes) -> None:
        nonlocal hits
        hits += stream.feed(chunk)

    await connection.copy_from_query(query, output=take, format=form)
    return hits


async def _topics(settings: Settings, finder: Finder, report: Report) -> None:
    """Read every topic from its beginning: dead letters too, and batches that a producer compressed."""
    if settings.kafka is None:
        report.not_searched.append("topics (DONGUI_KAFKA is not set)")
        return
    topics = await brokers.topics(settings)
    consumer = kafka.consumer(settings)
    await consumer.start()
    try:
        found = await _read(consumer, {settings.topic_prefix + name: count for name, count in topics.items()}, finder)
    finally:
        await consumer.stop()
    for topic, hits in sorted(found.items()):
        report.note(f"topic {topic.removeprefix(settings.topic_prefix)}", hits)


async def _read(consumer: AIOKafkaConsumer, topics: dict[str, int], finder: Finder) -> dict[str, int]:
    """Read all partitions that hold anything, up to where they end now; return the hits by topic."""
    places = [TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)]
    first, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    left = {place for place in places if ends[place] > first[place]}
    hits = dict.fromkeys(topics, 0)
    consumer.assign(left)
    for place in left:
        consumer.seek(place, first[place])
    while left:
        for place, records in (await consumer.getmany(*left, timeout_ms=FETCH_MS)).items():
            hits[place.topic] += sum(finder.count([_bytes_of(record)]) for record in records)
        left = {place for place in left if await consumer.position(place) < ends[place]}
    return hits


def _bytes_of(record: "ConsumerRecord[Any, Any]") -> bytes:
    headers = [part for name, value in record.headers for part in (name.encode(), value or b"")]
    return b"\n".join([record.key or b"", record.value or b"", *headers])


def _files(data_dir: Path, finder: Finder, report: Report, residue: bool) -> None:
    """Search the files of an embedded system: Kafka's segments, logs, checkpoints, exports, keys; PostgreSQL's own."""
    for root in (data_dir, *(copy / "postgres" for copy in account.copies(data_dir))):
        for path, kind in _walked(root, data_dir):
            passing = kind in {"wal", "table files"}
            if passing and not residue:
                continue
            try:
                report.note(kind, finder.count(_chunks(path)), passing=passing)
            except FileNotFoundError:
                pass  # a segment or a temporary file that went while we looked
            except OSError:
                report.not_searched.append(kind)


def _walked(root: Path, data_dir: Path) -> Iterator[tuple[Path, str]]:
    # Not rglob: it raises for a folder that goes while we look, and a broker deletes topics at any time.
    found = [Path(folder) / name for folder, _, names in os.walk(root, onerror=_unless_gone) for name in names]
    for path in sorted(found):
        parts = path.relative_to(root).parts
        if path.is_symlink() or not path.is_file() or (root == data_dir and parts[0] in NOT_OURS):
            continue
        if root != data_dir or parts[0] == "postgres":
            yield path, "wal" if "pg_wal" in parts else "table files"
        else:
            yield path, f"files {parts[0]}"


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


async def _metrics(urls: Iterable[str], finder: Finder, report: Report) -> None:
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        for url in urls:
            try:
                answer = await client.get(url)
            except httpx.HTTPError:
                report.not_searched.append(f"metrics {url}")
            else:
                report.note(f"metrics {url}", finder.count([answer.content]))

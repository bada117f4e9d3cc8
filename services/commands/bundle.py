"""The diagnostics bundle: one .tar.gz that an operator may send to somebody. Nothing personal and no secret is in it.

Each part is made alone: what does not answer is in the bundle as what it raised, by type. Everything is scrubbed on its
way in, also what is clean already.
"""

import asyncio
import json
import platform
import sys
import tarfile
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from services.commands import brokers, letters, scrub
from services.commands.checks import Check
from services.commands.config import effective
from services.runtime import backlog, kafka, migrate
from services.runtime.migrate import package_of
from services.runtime.settings import DATABASES, Settings

LOG_BYTES: Final = 64 * 1024
TIMEOUT_S: Final = 30
PACKAGES: Final = ("aiokafka", "asyncpg", "faust-streaming", "fastapi", "pydantic", "cryptography", "joserfc")
ASKED: Final = {
    "status": "/v1/status",
    "canaries": "/v1/canaries",
    "dead_letter_outcomes": "/v1/dead-letters",
}
Files = dict[str, bytes]


async def write(path: Path, settings: Settings, found: list[Check]) -> list[str]:
    """Write the bundle and return the names of its parts. Raises OSError when the file cannot be written."""
    parts: dict[str, Callable[[], Awaitable[Any]]] = {
        "checks.json": lambda: _now([check.shown() for check in found]),
        "settings.json": lambda: _now(effective(settings)),
        "versions.json": lambda: _now(versions()),
        "kafka.json": lambda: _kafka(settings),
        "outboxes.json": lambda: _outboxes(settings),
        "migrations.json": lambda: _migrations(settings),
        "dead_letters.json": lambda: _letters(settings),
        "ledger.json": lambda: _ledger(settings),
    }
    made = await asyncio.gather(*(_tried(make) for make in parts.values()))
    files = {
        name: json.dumps(part, ensure_ascii=False, indent=2, default=str)
        for name, part in zip(parts, made, strict=True)
    }
    files |= await _processes(settings)
    secrets = scrub.secrets_of(settings)
    clean = {name: scrub.clean(text, secrets) for name, text in files.items()}
    clean |= {f"log/{log.name}": scrub.clean_lines(_tail(log), secrets) for log in _logs(settings)}
    _pack(path, clean)
    return sorted(clean)


def versions() -> dict[str, str]:
    """Return the versions of Python, the machine and the packages that matter."""
    packages = {name: version(name) for name in ("dongui", *PACKAGES)}
    return {"python": sys.version, "platform": platform.platform()} | packages


async def _now(value: Any) -> Any:
    return value


async def _tried(make: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await asyncio.wait_for(make(), TIMEOUT_S)
    except Exception as error:  # noqa: BLE001 - a bundle is made when things are broken; the text may hold anything
        return {"not_known": type(error).__name__}


async def _kafka(settings: Settings) -> dict[str, Any]:
    """Topics with their partitions and ends, groups with what they have not read."""
    topics = await brokers.topics(settings)
    places = [TopicPartition(settings.topic_prefix + t, p) for t, count in topics.items() for p in range(count)]
    async with kafka.consuming(settings) as consumer:
        first, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    held = Counter[str]()
    for place in places:
        held[place.topic.removeprefix(settings.topic_prefix)] += ends[place] - first[place]
    shown = {t: {"partitions": count, "records": held[t]} for t, count in sorted(topics.items())}
    return {"topics": shown, "groups": await _groups(settings, ends)}


async def _groups(settings: Settings, ends: dict[TopicPartition, int]) -> dict[str, int]:
    admin = AIOKafkaAdminClient(**kafka.client_options(settings))
    await admin.start()
    try:
        names = [g[0] for g in await admin.list_consumer_groups() if g[0].startswith(f"{settings.topic_prefix}dongui-")]
        lags = {}
        for name in sorted(names):
            offsets = await admin.list_consumer_group_offsets(name)
            lags[name] = sum(max(0, ends[p] - o.offset) for p, o in offsets.items() if p in ends and o.offset >= 0)
        return lags
    finally:
        await admin.close()


async def _outboxes(settings: Settings) -> dict[str, Any]:
    """Per database: rows the broker has not acknowledged (up to 10,000), and the age of the oldest."""
    named = {name: getattr(settings, f"{name}_dsn") for name in DATABASES} | settings.affiliate_dsns
    dsns = {name: dsn.get_secret_value() for name, dsn in named.items() if dsn and name not in {"keyring", "audit"}}
    found = await asyncio.gather(*(_tried(lambda dsn=dsn: _outbox(dsn)) for dsn in dsns.values()))  # type: ignore[misc]
    return dict(zip(dsns, found, strict=True))


async def _outbox(dsn: str) -> dict[str, Any]:
    connection = await asyncpg.connect(dsn, timeout=TIMEOUT_S)
    try:
        seconds, rows = await backlog.read(connection)
        return {"rows": rows, "oldest_seconds": seconds}
    finally:
        await connection.close()


async def _migrations(settings: Settings) -> dict[str, Any]:
    """Per database with an owner's DSN: how many are known, which are pending."""
    dsns = {name: dsn.get_secret_value() for name, dsn in settings.owner_dsns.items()}
    found = await asyncio.gather(*(_tried(lambda n=n, d=d: _pending(n, d)) for n, d in dsns.items()))  # type: ignore[misc]
    return dict(zip(dsns, found, strict=True))


async def _pending(name: str, dsn: str) -> dict[str, Any]:
    known = migrate.load(package_of(name))
    connection = await asyncpg.connect(dsn, timeout=TIMEOUT_S)
    try:
        waiting = await migrate.pending(connection, known)
    finally:
        await connection.close()
    return {"known": len(known), "pending": [m.version for m in waiting]}


async def _letters(settings: Settings) -> dict[str, int]:
    """Dead letters by topic and code; which are handled is in the ledger's part."""
    found = await letters.all_letters(settings)
    return dict(sorted(Counter(f"{letter.topic} {letter.code}" for letter in found).items()))


async def _ledger(settings: Settings) -> dict[str, Any]:
    """What consent says of lag, canaries and dead letters, and how many duties are open of each kind and state."""
    token = settings.secret("service_token")
    url = settings.consent_url or f"http://{settings.consent_host}:{settings.consent_port}"
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as client:
        said: dict[str, Any] = {
            name: (await client.get(path)).raise_for_status().json() for name, path in ASKED.items()
        }
        duties = (await client.get("/v1/duties")).raise_for_status().json()["duties"]
    for one in said["canaries"]["canaries"]:
        del one["member_ref"]
    outcomes = said.pop("dead_letter_outcomes")["outcomes"]
    said["dead_letters_handled"] = dict(Counter(f"{o['topic']} {o['state']}" for o in outcomes))
    said["duties"] = dict(Counter(f"{d['kind']} {d['state']}" for d in duties))
    return said


async def _processes(settings: Settings) -> dict[str, str]:
    """Each process's probes and its metrics."""
    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
        found = await asyncio.gather(*(_process(client, url) for url in settings.process_urls.values()))
    probes = {name: said for name, (said, _) in zip(settings.process_urls, found, strict=True)}
    metrics = {
        f"metrics/{name}.txt": text for name, (_, text) in zip(settings.process_urls, found, strict=True) if text
    }
    return {"processes.json": json.dumps(probes, ensure_ascii=False, indent=2)} | metrics


async def _process(client: httpx.AsyncClient, url: str) -> tuple[dict[str, Any], str]:
    try:
        answers = {path: await client.get(f"{url}/{path}") for path in ("livez", "readyz", "metrics")}
    except httpx.HTTPError as error:
        return {"not_known": type(error).__name__}, ""
    said = {path: {"status": a.status_code, "body": a.text} for path, a in answers.items() if path != "metrics"}
    metrics = answers["metrics"]
    return said, metrics.text if metrics.is_success else ""


def _logs(settings: Settings) -> list[Path]:
    return sorted((settings.data_dir / "log").glob("*.log"))


def _tail(log: Path) -> str:
    """Return the last whole lines of a log."""
    with log.open("rb") as file:
        start = max(0, log.stat().st_size - LOG_BYTES)
        file.seek(start)
        read = file.read()
    return (read.partition(b"\n")[2] if start else read).decode("utf-8", "replace")


def _pack(path: Path, files: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in sorted(files.items()):
            content = text.encode()
            entry = tarfile.TarInfo(f"dongui-diagnostics/{name}")
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))

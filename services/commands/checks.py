"""The doctor's checks. Each looks at one thing and never raises: what it cannot see is what it reports."""

import asyncio
import stat
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import asyncpg
import httpx
from pydantic import SecretStr

from schemas.topics import all_topics
from services.commands.brokers import KafkaUnreachableError, topics
from services.commands.config import named_files
from services.devstack import jars
from services.devstack.errors import DevstackError
from services.policy.model import PolicyError, load
from services.runtime import migrate, wire
from services.runtime.clock import utc_now
from services.runtime.kafka import InsecureKafkaError
from services.runtime.migrate import DriftError, package_of
from services.runtime.settings import DATABASES, MissingSettingsError, Settings
from services.runtime.wire import InsecureWireError

SKEW_S_MAX = 2.0
TIMEOUT_S = 10
PUBLIC_FILES = frozenset({"jwks_file", "kafka_ca_file", "vault_ca_file"})


@dataclass(frozen=True)
class Check:
    """What one check found: `warning` is worth a look, `failed` keeps something from working."""

    name: str
    state: Literal["ok", "warning", "failed"]
    told: str

    def shown(self) -> dict[str, str]:
        """Return it as JSON."""
        return asdict(self)


async def all_of(settings: Settings) -> list[Check]:
    """Run every check, those on the network at the same time."""
    remote: list[Callable[[Settings], Awaitable[list[Check]]]] = [kafka, databases, migrations, processes]
    found = [jar_files(settings.data_dir), *key_files(settings), wires(settings)]
    for checks in await asyncio.gather(*(check(settings) for check in remote)):
        found += checks
    return found


def jar_files(data_dir: Path) -> Check:
    """Hash Kafka's jars against the committed lock."""
    folder = data_dir / "jars" / f"kafka-{jars.KAFKA_VERSION}"
    if not folder.is_dir():
        return Check("jars", "warning", "not downloaded yet; `dongui dev up` does (only an embedded Kafka needs them)")
    try:
        found = jars.verify(folder, jars.load_lock())
    except (DevstackError, OSError) as error:
        return Check("jars", "failed", str(error))
    return Check("jars", "ok", f"{len(found)} jars of Kafka {jars.KAFKA_VERSION} are those of the lock")


def key_files(settings: Settings) -> list[Check]:
    """Look at the mode of every file that holds a secret, also those of a dev system."""
    public = {str(getattr(settings, name)) for name in PUBLIC_FILES}
    named = [path for path in named_files(settings) if str(path) not in public]
    folder = settings.data_dir / "secrets"
    files = [*named, *(p for p in sorted(folder.glob("*")) if p.is_file())]
    open_to_others = [str(p) for p in files if not p.is_file() or p.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    if open_to_others:
        return [Check("key files", "failed", f"missing, or open to others (chmod 600): {', '.join(open_to_others)}")]
    return [Check("key files", "ok", f"{len(files)} files, none readable by others")]


def wires(settings: Settings) -> Check:
    """Say whether any setting would send something in clear."""
    try:
        wire.require_secure(settings)
    except InsecureWireError as error:
        return Check("wire", "failed", str(error))
    return Check("wire", "ok", "nothing leaves this machine in clear")


async def kafka(settings: Settings) -> list[Check]:
    """Ask Kafka for its topics and compare them with the contract."""
    try:
        found = await topics(settings)
    except (KafkaUnreachableError, MissingSettingsError, InsecureKafkaError, OSError) as error:
        return [Check("kafka", "failed", f"does not answer: {type(error).__name__}")]
    answers = Check("kafka", "ok", "answers")
    try:
        wanted = {t.name: t.partitions for t in all_topics(load(settings.affiliates_dir).affiliates)}
    except PolicyError as error:
        return [answers, Check("topics", "failed", f"not known, the policy cannot be used: {error}")]
    wrong = sorted(name for name, count in wanted.items() if found.get(name) != count)
    if wrong:
        return [answers, Check("topics", "failed", f"missing, or another partition count: {', '.join(wrong)}")]
    return [answers, Check("topics", "ok", f"all {len(wanted)} of the contract")]


async def databases(settings: Settings) -> list[Check]:
    """Connect to every database that is named, as its process does, and compare the clocks."""
    named: dict[str, SecretStr | None] = {name: getattr(settings, f"{name}_dsn") for name in DATABASES}
    dsns = {name: dsn for name, dsn in (named | settings.affiliate_dsns).items() if dsn}
    if not dsns:
        return [Check("postgres", "failed", "no DSN is set")]
    return list(await asyncio.gather(*(_database(name, dsn.get_secret_value()) for name, dsn in dsns.items())))


async def _database(name: str, dsn: str) -> Check:
    label = f"postgres {name}"
    try:
        connection = await asyncpg.connect(dsn, timeout=TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, ValueError) as error:  # ValueError: no DSN, see `wires`
        return Check(label, "failed", f"no connection: {type(error).__name__}")
    try:
        theirs = await connection.fetchval("SELECT clock_timestamp()")
    finally:
        await connection.close()
    skew = abs((utc_now() - theirs).total_seconds())
    if skew > SKEW_S_MAX:
        return Check(label, "warning", f"its clock and ours are {skew:.1f} s apart")
    return Check(label, "ok", "answers; clocks agree")


async def migrations(settings: Settings) -> list[Check]:
    """Compare the applied migrations with the code, where an owner's DSN is known."""
    owners = settings.owner_dsns.items()
    return list(await asyncio.gather(*(_migrations(name, dsn.get_secret_value()) for name, dsn in owners)))


async def _migrations(name: str, dsn: str) -> Check:
    label = f"migrations {name}"
    known = migrate.load(package_of(name))
    try:
        connection = await asyncpg.connect(dsn, timeout=TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, ValueError) as error:  # ValueError: no DSN, see `wires`
        return Check(label, "failed", f"no connection: {type(error).__name__}")
    try:
        waiting = await migrate.pending(connection, known)
    except DriftError as error:
        return Check(label, "failed", str(error))
    finally:
        await connection.close()
    if waiting:
        return Check(label, "failed", f"{len(waiting)} pending; run: dongui db migrate {name}")
    return Check(label, "ok", f"{len(known)} applied, unchanged")


async def processes(settings: Settings) -> list[Check]:
    """Ask every process that is named for its probes."""
    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
        return list(await asyncio.gather(*(_process(client, *named) for named in settings.process_urls.items())))


async def _process(client: httpx.AsyncClient, name: str, url: str) -> Check:
    label = f"process {name}"
    try:
        answers = [(path, await client.get(f"{url}/{path}")) for path in ("livez", "readyz")]
    except httpx.HTTPError as error:
        return Check(label, "failed", f"does not answer: {type(error).__name__}")
    failed = [f"{path} {answer.status_code} {answer.text[:200]}" for path, answer in answers if not answer.is_success]
    return Check(label, "failed", "; ".join(failed)) if failed else Check(label, "ok", "alive and ready")

"""What the scan finds: one value left in every kind of place, by real servers; and what it never says."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner, Result

from services import cli
from services.devstack.provision import AFFILIATES
from tests.support.databases import Databases
from tests.support.servers import Servers

VALUE = "카나리아.zq7x@example.kr"
REF = "01a20f2a-a131-762e-ae9c-05d2a679804e"
NAMES = ("consent", "keyring", "audit", "notices", *AFFILIATES)


@pytest.fixture
def canaries(tmp_path: Path) -> Path:
    (tmp_path / "canaries.txt").write_text(f"{VALUE}\n\n", encoding="utf-8")
    return tmp_path / "canaries.txt"


@pytest.fixture
def data_dir(
    stack: Servers, databases: Databases, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An empty data directory, and the settings of an operator with this test's databases and topics."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("DONGUI_DATA_DIR", str(folder))
    monkeypatch.setenv("DONGUI_PROFILE", "dev")
    monkeypatch.setenv("DONGUI_KAFKA", stack.bootstrap)
    monkeypatch.setenv("DONGUI_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("DONGUI_OWNER_DSNS", json.dumps({name: databases.owner_dsn(name) for name in NAMES}))
    return folder


async def dongui(*arguments: str) -> Result:
    """Run the command in a thread: it has a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, cli.build(arguments), list(arguments))


async def report_of(canaries: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = await dongui("erasure", "scan", "--canaries", str(canaries), *arguments, "--format", "json")
    assert VALUE not in done.output
    assert VALUE.partition("@")[0] not in done.output
    return done.exit_code, json.loads(done.stdout)


async def execute(dsn: str, statement: str, *arguments: Any) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()


@pytest_asyncio.fixture
async def leaking_metrics() -> AsyncIterator[str]:
    """A process whose metrics label says too much."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=f'requests_total{{who="{VALUE}"}} 1\n')

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/metrics"  # type: ignore[attr-defined]
    await runner.cleanup()


async def test_a_clean_system_has_no_hit_and_says_how_much_was_searched(data_dir: Path, canaries: Path) -> None:
    status, report = await report_of(canaries)
    assert (status, report["hits"], report["residue"]) == (0, {}, {})
    assert report["places"] > 60


async def test_a_value_is_found_in_tables_whatever_their_columns_hold(
    data_dir: Path, canaries: Path, databases: Databases
) -> None:
    store = "INSERT INTO member (member_ref, seq, email, applied_at) VALUES ($1, 1, $2, now())"
    await execute(databases.owner_dsn("tmax-os"), store, REF, VALUE)
    items = "INSERT INTO processed_member (member_ref, seq, items, applied_at) VALUES ($1, 1, $2::jsonb, now())"
    await execute(databases.owner_dsn("tmax-anc"), items, REF, json.dumps({"contact_email": VALUE}))
    left = (
        "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, headers, shard)"
        " VALUES ($1, 't', 'm', 'x', $2, '{}', 0)"
    )
    hidden = base64.urlsafe_b64encode(b'{"email":"' + VALUE.encode() + b'"}')
    await execute(databases.owner_dsn("notices"), left, REF, hidden)
    status, report = await report_of(canaries)
    assert status == 3
    assert report["hits"] == {
        "database tmax-os: member": 1,
        "database tmax-anc: processed_member": 1,
        "database notices: outbox": 1,
    }


async def test_a_value_is_found_in_records_headers_and_dead_letters_compressed_or_not(
    data_dir: Path, canaries: Path, stack: Servers, topic_prefix: str
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap, compression_type="gzip")
    await producer.start()
    try:
        for topic, value, header in (
            ("dongui.facts.v1", json.dumps({"email": VALUE}).encode(), b""),
            ("dongui.facts.v1.dlq", b"-", VALUE.encode("utf-16-le")),
            ("dongui.receipts.v1", b"clean", b"clean"),
        ):
            await producer.send_and_wait(topic_prefix + topic, value, key=b"k", headers=[("reason", header)])
    finally:
        await producer.stop()
    status, report = await report_of(canaries)
    assert (status, report["hits"]) == (3, {"topic dongui.facts.v1": 1, "topic dongui.facts.v1.dlq": 1})


async def test_a_value_is_found_in_logs_exports_and_metrics_but_a_third_partys_store_is_its_own(
    data_dir: Path, canaries: Path, leaking_metrics: str
) -> None:
    for name in ("log/consent.log", "checkpoints/1.txt", "partner/received.jsonl", "export.ndjson"):
        (data_dir / name).parent.mkdir(exist_ok=True)
        (data_dir / name).write_text(f"x {VALUE} y\n", encoding="utf-8")
    status, report = await report_of(canaries, "--metrics", leaking_metrics, "--metrics", "http://127.0.0.1:1/metrics")
    assert status == 3
    assert report["hits"] == {
        "files log": 1,
        "files checkpoints": 1,
        "files export.ndjson": 1,
        f"metrics {leaking_metrics}": 1,
    }
    assert report["not_searched"] == ["metrics http://127.0.0.1:1/metrics"]


async def test_what_postgresql_keeps_for_a_while_is_told_apart(data_dir: Path, canaries: Path) -> None:
    for name in ("postgres/pg_wal/000000010000000000000001", "postgres/base/5/16384"):
        (data_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (data_dir / name).write_bytes(b"\0" * 9000 + VALUE.encode() + b"\0" * 9000)
    status, report = await report_of(canaries)
    assert (status, report["hits"], report["residue"]) == (0, {}, {"wal": 1, "table files": 1})
    assert (await report_of(canaries, "--strict"))[0] == 3
    assert (await report_of(canaries, "--no-residue"))[1]["residue"] == {}


async def test_a_member_who_is_still_there_is_found_by_reference(data_dir: Path, databases: Databases) -> None:
    columns = "(member_ref, seq, status, email, name, signed_up_at)"
    signed_up = f"INSERT INTO member {columns} VALUES ($1, 1, 'active', $2, $3, now())"
    await execute(databases.owner_dsn("consent"), signed_up, REF, VALUE, "홍길동")
    await execute(
        databases.owner_dsn("keyring"),
        "INSERT INTO member_key (member_ref, wrapped, kek_id, created_at) VALUES ($1, $2, 'file:x', now())",
        REF,
        b"w" * 60,
    )
    done = await dongui("erasure", "scan", REF, "--format", "json")
    told = json.loads(done.stdout)
    assert done.exit_code == 3
    assert told["member"]["key"] == "present"
    assert told["member"]["values"] == {"database consent: member": 1}
    assert told["hits"] == {"database consent: member": 2}


async def test_an_erased_member_is_gone_when_key_rows_and_every_store_say_so(
    data_dir: Path, databases: Databases
) -> None:
    shredded = "INSERT INTO member_key (member_ref, created_at, shredded_at) VALUES ($1, now(), now())"
    await execute(databases.owner_dsn("keyring"), shredded, REF)
    for affiliate in AFFILIATES[:2]:
        await execute(databases.owner_dsn(affiliate), "INSERT INTO suppressed VALUES ($1, now())", REF)
    done = await dongui("erasure", "scan", REF, "--format", "json")
    told = json.loads(done.stdout)["member"]
    assert (done.exit_code, told["erased"], told["suppressed"][AFFILIATES[2]]) == (3, False, False)
    await execute(databases.owner_dsn(AFFILIATES[2]), "INSERT INTO suppressed VALUES ($1, now())", REF)
    done = await dongui("erasure", "scan", REF)
    assert done.exit_code == 0, done.output
    assert "destroyed" in done.stdout


@pytest.mark.parametrize("arguments", [[], [REF, "--canaries", "x"], ["not-a-reference"]])
async def test_what_is_not_understood_exits_2(data_dir: Path, arguments: list[str]) -> None:
    assert (await dongui("erasure", "scan", *arguments)).exit_code == 2


async def test_a_value_that_is_found_by_chance_is_refused(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "short").write_text("kim\n", encoding="utf-8")
    done = await dongui("erasure", "scan", "--canaries", str(tmp_path / "short"))
    assert (done.exit_code, "too short" in done.stderr) == (2, True)

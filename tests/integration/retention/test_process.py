"""The process from outside: start, kill, stop by signal; and what it waits for while others are away."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from services.consent import retained
from services.devstack.ports import free_ports
from services.retention.app import build
from services.runtime.settings import MissingSettingsError, Settings
from tests.integration.retention.harness import Pair

ORDER = {"class": "contract", "fields": {"order_no": "A-1"}}


async def test_the_consent_service_away_loses_nothing(pair: Pair) -> None:
    """The keys come from there: while its key database is away a record waits on the topic."""
    ref, _ = await pair.member_with(ORDER)
    await pair.leave(ref)
    async with pair.service.pool.acquire() as connection:
        begun = connection.transaction()
        await begun.start()
        await retained.hand_over(pair.service.consent, connection, ref)
        async with pair.databases.blocked("keyring"):
            await begun.commit()
            pair.service.consent.nudge()
            await pair.service.relayed()
            await asyncio.sleep(0.5)
            assert await connection.fetchval("SELECT stage FROM statutory_record WHERE member_ref = $1", ref) is None
    assert await pair.stages(ref) == ["retained"]


async def test_the_retention_database_away_loses_nothing_and_makes_it_not_ready(pair: Pair) -> None:
    ref, ids = await pair.member_with(ORDER)
    await pair.leave(ref)
    async with pair.databases.blocked("retention"):
        ready = await pair.http.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"postgres": False})
        assert (await pair.http.get("/livez")).status_code == 200
        assert (await pair.read(ref)).status_code == 503
        await pair.hand_over(ref)
        await pair.service.relayed()
        async with pair.service.pool.acquire() as connection:
            stage = await connection.fetchval("SELECT stage FROM statutory_record WHERE member_ref = $1", ref)
    assert stage is None
    assert await pair.stages(ref) == ["retained"]
    assert [r["record_id"] for r in (await pair.read(ref)).json()["records"]] == ids


@pytest.mark.long
async def test_a_second_process_may_run_beside_be_killed_and_end_by_signal(pair: Pair) -> None:
    settings = pair.parts.settings.model_copy(update={"retention_port": free_ports(1)[0]})
    async with started(settings) as process:
        ref, ids = await pair.member_with(ORDER)
        await pair.moved(ref)
        process.kill()
        assert await asyncio.wait_for(process.wait(), 20) == -signal.SIGKILL
    async with started(settings) as process:
        other, more = await pair.member_with(ORDER)
        await pair.moved(other)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    for member, wanted in ((ref, ids), (other, more)):
        assert [r["record_id"] for r in (await pair.read(member)).json()["records"]] == wanted


@asynccontextmanager
async def started(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `python -m services.retention` until it is ready; kill it at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.retention", env=environment(settings), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.retention_port}") as http:
            async with asyncio.timeout(60):
                while not await ready(http):
                    assert process.returncode is None
                    await asyncio.sleep(0.1)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def environment(settings: Settings) -> dict[str, str]:
    """The settings as the process gets them."""
    secret = {"retention_dsn", "retention_token"}
    files = ("retention_kek_file", "retention_index_key_file", "jwks_file", "data_dir")
    plain = ("profile", "kafka", "topic_prefix", "retention_port", "consent_url", *files)
    told = {f"DONGUI_{n.upper()}": str(getattr(settings, n)) for n in plain}
    return os.environ | told | {f"DONGUI_{n.upper()}": settings.secret(n) for n in secret}


async def ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def test_it_says_at_its_start_what_it_lacks() -> None:
    with pytest.raises(MissingSettingsError, match="DONGUI_RETENTION_KEK_FILE"):
        async with build(Settings(kafka="localhost:1")):
            pass

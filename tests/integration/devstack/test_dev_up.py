"""`dongui dev`: starts everything, survives kill -9, keeps data, leaves no process; refuses with a reason."""

import asyncio
import json
import os
import pwd
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.devstack import ports
from services.devstack.jars import KAFKA_VERSION
from services.devstack.state import State
from tests.integration.devstack.helpers import dongui, processes_of, with_jars
from tests.support.servers import temporary_directory

PROCESSES = 10  # Kafka, PostgreSQL, consent, audit, three propagators, notices, the demo's third party, the supervisor
SIGN_UP = {
    "email": "restart@example.com",
    "password": "long enough 1",
    "name": "홍길동",
    "consents": {"collection": True, "sharing": True},
    "notice_version": "2021-02-22",
}


@pytest.fixture
async def data_dir(stack: Any) -> AsyncIterator[Path]:
    """A data directory of its own (`stack`: its start has downloaded the jars); whatever runs on it is ended."""
    async with temporary_directory() as folder:
        yield with_jars(folder)
        await asyncio.to_thread(dongui, folder, "dev", "reset")


async def until(look: Callable[[], bool], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not look():
            await asyncio.sleep(0.1)


def up(data_dir: Path) -> dict[str, Any]:
    base = ports.free_base()
    done = dongui(data_dir, "dev", "up", "--detach", "--port-base", str(base))
    assert done.returncode == 0, done.stderr
    described: dict[str, Any] = json.loads(dongui(data_dir, "dev", "env", "--format", "json").stdout)
    assert described["consent_url"] == f"http://127.0.0.1:{base + 1}"
    return described


@pytest.mark.long
@pytest.mark.timeout(300)  # two starts of everything: about 30 s on two idle cores
async def test_a_detached_system_survives_kill_9_with_its_data_and_leaves_no_process(data_dir: Path) -> None:
    described = await asyncio.to_thread(up, data_dir)
    staff = {"compliance", "cpo", "sre", "auditor"}
    assert set(described["tokens"]) == {"service", "third_party", "notices", "affiliates"} | staff
    assert set(described["console_accounts"]) == staff | {"tmax-os-staff"}
    assert httpx.get(described["console_url"], follow_redirects=True, timeout=30).status_code == 200
    assert len(processes_of(data_dir)) >= PROCESSES
    headers = {"Authorization": f"Bearer {described['tokens']['service']}"}
    signed_up = httpx.post(
        f"{described['consent_url']}/v1/members", json=SIGN_UP, headers=headers | {"Idempotency-Key": "a"}, timeout=30
    )
    assert signed_up.status_code == 201
    again = dongui(data_dir, "dev", "up")
    assert again.returncode == 1
    assert "a system already runs on" in again.stderr
    assert "Traceback" not in again.stderr

    supervisor = State(data_dir).supervisor()
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    await until(lambda: processes_of(data_dir) == [])
    assert dongui(data_dir, "dev", "env").returncode == 1

    described = await asyncio.to_thread(up, data_dir)
    ref = signed_up.json()["member_ref"]
    found = httpx.get(f"{described['consent_url']}/v1/members/{ref}", headers=headers, timeout=30)
    assert found.json()["name"] == "홍길동"
    assert dongui(data_dir, "doctor").returncode == 0
    assert dongui(data_dir, "dev", "down").stderr == "Stopped.\n"
    assert processes_of(data_dir) == []


async def test_a_taken_port_is_refused_before_anything_starts(data_dir: Path) -> None:
    base = ports.free_base()
    with socket.socket() as server:
        server.bind((ports.HOST, base + 1))
        server.listen()
        done = await asyncio.to_thread(dongui, data_dir, "dev", "up", "--port-base", str(base))
    assert done.returncode == 1
    assert f"port {base + 1} (for consent) is taken by" in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr
    assert "Traceback" not in done.stderr
    assert processes_of(data_dir) == []


@pytest.mark.long
async def test_altered_jars_are_refused_and_nothing_stays_running(data_dir: Path) -> None:
    (data_dir / "jars").unlink()
    folder = data_dir / "jars" / f"kafka-{KAFKA_VERSION}"
    folder.mkdir(parents=True)
    (folder / "evil.jar").write_bytes(b"\xca\xfe\xba\xbe")
    base = ports.free_base()
    done = await asyncio.to_thread(dongui, data_dir, "dev", "up", "--port-base", str(base))
    assert done.returncode == 1
    assert "extra: evil.jar" in done.stderr
    assert "Kafka was not started" in done.stderr
    assert "Traceback" not in done.stderr
    assert processes_of(data_dir) == []


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_unprivileged_user_can_start_it_too(data_dir: Path) -> None:
    """When the suite runs as root: as `nobody`, who may enter the interpreter's folder even below /root."""
    account = pwd.getpwnam("nobody")
    if os.geteuid() == 0:
        os.chown(data_dir, account.pw_uid, account.pw_gid)
    base = ports.free_base()
    command = ("dev", "up", "--detach", "--port-base", str(base))
    done = await asyncio.to_thread(dongui, data_dir, *command, prefix=as_nobody())
    assert done.returncode == 0, done.stderr
    assert (data_dir / "postgres" / "PG_VERSION").stat().st_uid == (
        account.pw_uid if os.geteuid() == 0 else os.geteuid()
    )
    assert not (data_dir / "copies.txt").exists()
    assert httpx.get(f"http://127.0.0.1:{base + 1}/readyz", timeout=30).status_code == 200
    down = await asyncio.to_thread(dongui, data_dir, "dev", "down", prefix=as_nobody())
    assert down.stderr == "Stopped.\n"
    assert processes_of(data_dir) == []


def as_nobody() -> list[str]:
    """Return the command that drops root but for the right to enter folders; nothing when we are no root."""
    if os.geteuid() != 0:
        return []
    capability = "+dac_read_search"
    drop = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    sets = ("bounding-set", "inh-caps", "ambient-caps")
    return [*drop, *(f"--{name}=-all,{capability}" for name in sets)]

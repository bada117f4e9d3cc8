"""The whole product on a Kafka that is closed to strangers: sign-up to withdrawal, the operator's commands, no denial.

A process that lacked a right would be denied in the broker's log; one that had too many is found by
tests/integration/wire.
"""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from rich.console import Console

from services.devstack import ports
from services.devstack.story import Story
from services.devstack.world import opened
from tests.integration.devstack.helpers import dongui, processes_of, with_jars
from tests.support.servers import temporary_directory

pytestmark = [pytest.mark.long, pytest.mark.timeout(400), pytest.mark.xdist_group("secure")]
DENIED = re.compile(r"Principal = User:(\S+) is Denied operation = (\S+) .* on resource = (\S+)")


@pytest_asyncio.fixture(scope="module")
async def data_dir(stack: Any) -> AsyncIterator[Path]:
    """A system started as an operator starts it (`stack`: its start has downloaded the jars)."""
    async with temporary_directory() as folder:
        with_jars(folder)
        base = str(ports.free_base())
        done = await asyncio.to_thread(dongui, folder, "dev", "up", "--secure", "--detach", "--port-base", base)
        try:
            assert done.returncode == 0, done.stderr
            yield folder
        finally:
            await asyncio.to_thread(dongui, folder, "dev", "reset")
            assert processes_of(folder) == []


async def told(data_dir: Path, *arguments: str) -> Any:
    done = await asyncio.to_thread(dongui, data_dir, *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_a_member_signs_up_and_withdraws_and_nobody_lacks_a_right(data_dir: Path) -> None:
    described = await told(data_dir, "dev", "env")
    assert described["kafka_login"]["operator"]["DONGUI_KAFKA_SECURITY"] == "SASL_SSL"
    out = io.StringIO()
    async with opened(described) as world:
        story = Story(world, Console(file=out))
        await story.tell()
    first, *_, last = story.names.values()
    assert (first, last) == ("sign-up", "withdrawal")
    checks = {check["name"]: check["state"] for check in await told(data_dir, "doctor")}
    assert {checks[name] for name in ("wire", "kafka", "topics")} == {"ok"}
    await told(data_dir, "status")
    assert await told(data_dir, "dlq", "list") == []
    plan = ("replay", "plan", "--affiliate", "tmax-os", "--reason", "drill", "--output", str(data_dir / "plan.json"))
    assert (await asyncio.to_thread(dongui, data_dir, *plan)).returncode == 0
    denied = DENIED.findall((data_dir / "log" / "kafka.log").read_text())
    assert denied == [], "a principal of ours was denied what its work needs"


async def test_acls_are_made_by_setup_and_by_nobody_else(data_dir: Path) -> None:
    command = ("affiliate", "acls", "tmax-os", "--principal", "User:newcomer", "--create")
    refused = await asyncio.to_thread(dongui, data_dir, *command)
    assert refused.returncode == 1
    assert "ClusterAuthorizationFailedError" in refused.stderr
    assert "Traceback" not in refused.stderr
    seen = DENIED.findall((data_dir / "log" / "kafka.log").read_text())
    assert {who for who, *_ in seen} == {"operator"}, "a denial is seen when there is one, and there was no other"
    setup = (await told(data_dir, "dev", "env"))["kafka_login"]["setup"]
    made = await asyncio.to_thread(dongui, data_dir, *command, env=setup)
    assert made.returncode == 0, made.stderr
    assert "2 ACLs made, 5 were there" in made.stderr


async def test_a_closed_system_is_not_opened_in_plain_text(data_dir: Path) -> None:
    assert (await asyncio.to_thread(dongui, data_dir, "dev", "down")).returncode == 0
    base = str(ports.free_base())
    done = await asyncio.to_thread(dongui, data_dir, "dev", "up", "--detach", "--port-base", base)
    assert done.returncode == 1
    assert "is of a secure Kafka, not a plain one" in done.stderr
    for name in ("kafka_passwords.json", "kafka_setup", "ca.key", "broker.pem"):
        assert (data_dir / "secrets" / name).stat().st_mode & 0o077 == 0
    assert (data_dir / "kafka" / "node-1.properties").stat().st_mode & 0o077 == 0

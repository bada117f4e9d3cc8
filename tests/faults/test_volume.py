"""An existing member base of 100,000 comes in by the command, stopped once on the way; every store converges."""

import asyncio
import os
import sys
from pathlib import Path

import asyncpg
import pytest

from services.devstack import population
from services.devstack.system import System
from tests.faults.conftest import eventually

MEMBERS = 100_000
DOMAIN = "volume.example.kr"


@pytest.mark.long
@pytest.mark.timeout(3000)
async def test_a_hundred_thousand_members_are_imported_and_every_store_converges(
    system: System, tmp_path: Path, seed_long: int
) -> None:
    file = tmp_path / "members.ndjson"
    expected = population.write(file, MEMBERS, DOMAIN, seed_long)
    first = await _importing(system, file)
    await asyncio.sleep(30)
    first.kill()
    await first.wait()
    again = await _importing(system, file)
    assert await again.wait() == 0

    async def converged() -> bool:
        return [await _held(system, a) for a in expected.members] == [
            (expected.members[a], expected.processed[a]) for a in expected.members
        ]

    await eventually(converged, 900)


async def _importing(system: System, file: Path) -> asyncio.subprocess.Process:
    """Start `dongui member import` as an operator would, on this system."""
    described = system.described()
    env = {
        "PATH": os.environ["PATH"],
        "DONGUI_CONSENT_URL": described["consent_url"],
        "DONGUI_SERVICE_TOKEN": described["tokens"]["service"],
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "member", "import", str(file), env=env, stdout=asyncio.subprocess.DEVNULL
    )


async def _held(system: System, affiliate: str) -> tuple[int, int]:
    connection = await asyncpg.connect(system.described()["databases"]["affiliates"][affiliate])
    try:
        processed = await connection.fetchval(
            "SELECT count(*) FROM processed_member WHERE items->>'email' LIKE '%@' || $1", DOMAIN
        )
        members = await connection.fetchval("SELECT count(*) FROM member WHERE email LIKE '%@' || $1", DOMAIN)
    finally:
        await connection.close()
    return members, processed

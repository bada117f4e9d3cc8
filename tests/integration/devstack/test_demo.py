"""The demo as a newcomer runs it, without a terminal: exits 0, shows before and after, proves every change."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.devstack.helpers import dongui, processes_of, with_jars
from tests.support.servers import REPOSITORY, temporary_directory


@pytest.fixture
async def data_dir(stack: Any) -> AsyncIterator[Path]:
    async with temporary_directory() as folder:
        yield with_jars(folder)
        await asyncio.to_thread(dongui, folder, "dev", "reset")


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_the_demo_ends_well_twice_on_the_same_data_and_leaves_no_process(data_dir: Path) -> None:
    command = [sys.executable, "-m", "services.devstack.demo", "--data-dir", str(data_dir), "--members", "60"]
    for _ in range(2):
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, cwd=REPOSITORY
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("yes, offline") == 8
        assert "answered `corrected`" in " ".join(done.stdout.split())
        assert max(len(line) for line in done.stdout.splitlines() if "audit verify" not in line) <= 100
        assert processes_of(data_dir) == []

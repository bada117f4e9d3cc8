"""`dongui propagator run --all`: one ends, all end; one that asks to be started again is; a signal ends all."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.commands import propagator
from services.runtime.settings import MissingSettingsError, Settings

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]


def writes(path: Path, status: int) -> list[str]:
    """A child that notes its start in a file and exits; from the third start on it stays."""
    code = (
        f"import sys, time, pathlib; p = pathlib.Path({str(path)!r}); "
        "n = len(p.read_text()) if p.exists() else 0; p.write_text('x' * (n + 1)); "
        f"time.sleep(60) if n >= 2 else sys.exit({status})"
    )
    return [sys.executable, "-c", code]


@pytest.fixture(autouse=True)
async def restored_signals() -> AsyncIterator[None]:
    """The supervisor's loop is its process's; here it is the whole run's, which wants its signals back."""
    yield
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_all_end_when_one_ends(tmp_path: Path) -> None:
    status = await asyncio.wait_for(propagator.supervise([SLEEPS, writes(tmp_path / "n", 1), SLEEPS]), 20)
    assert status == 1
    assert (tmp_path / "n").read_text() == "x"


async def test_a_child_that_left_without_acknowledging_is_started_again_and_a_signal_ends_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propagator, "RESTART_S", 0.05)
    running = asyncio.create_task(propagator.supervise([writes(tmp_path / "n", 71), SLEEPS]))
    async with asyncio.timeout(20):
        while not (tmp_path / "n").exists() or len((tmp_path / "n").read_text()) < 3:
            await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, 20) == 0


def test_each_affiliate_gets_a_child_and_a_health_port_of_its_own(tmp_path: Path) -> None:
    settings = Settings(affiliate_dsns={"tmax-os": SecretStr("a"), "tmax-anc": SecretStr("b")}, health_port=9000)
    ends = [c[-4:] for c in propagator.commands(settings)]
    assert ends == [
        ["--affiliate", "tmax-os", "--health-port", "9000"],
        ["--affiliate", "tmax-anc", "--health-port", "9001"],
    ]
    with pytest.raises(MissingSettingsError):
        propagator.commands(Settings())

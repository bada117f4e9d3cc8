"""Faults on one part at a time, on real servers: the fixtures of the propagator's tests, and an outbox."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from services.runtime import postgres
from services.runtime.settings import Settings
from tests.integration.propagator.conftest import keys, process, settings, store, topic
from tests.integration.propagator.harness import Process

__all__ = ["keys", "process", "settings", "store", "topic"]
WRITERS = 50


@pytest.fixture(autouse=True)
def watched() -> None:
    """No whole system runs here, so none is watched."""


@pytest.fixture
def relaying(settings: Settings, databases: Any) -> Settings:
    """The same settings, with a consent database whose outbox a relay publishes."""
    return settings.model_copy(update={"consent_dsn": SecretStr(databases.dsn("consent"))})


@pytest.fixture
async def outbox_pool(relaying: Settings, databases: Any) -> AsyncIterator[asyncpg.Pool]:
    """Sessions that write to the outbox of `relaying`, as many as there are writers."""
    made = await postgres.open_pool(databases.owner_dsn("consent"), size=WRITERS, application="writer")
    yield made
    made.terminate()


@pytest.fixture
async def workers(process: Process, tmp_path: Path) -> AsyncIterator[Callable[[str], Process]]:
    """Make further workers of the same affiliate by name, not started."""
    made: list[Process] = []

    def make(name: str) -> Process:
        env = process._env | {"DONGUI_DATA_DIR": str(tmp_path / name)}
        made.append(Process(env, tmp_path / f"{name}.log"))
        return made[-1]

    yield make
    for one in made:
        await one.stop()

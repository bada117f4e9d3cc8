"""Who runs, told by pid and start time: a stale pid file never ends a stranger's process and never blocks a start."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.devstack import pids
from services.devstack.errors import AlreadyRunningError, DevstackError
from services.devstack.pids import ProcessRecord
from services.devstack.state import SUPERVISOR, State


@pytest.fixture
def state(tmp_path: Path) -> State:
    (tmp_path / "run").mkdir()
    (tmp_path / "secrets").mkdir()
    return State(tmp_path)


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def stale_record(state: State, name: str, pid: int) -> None:
    """A record of a process that ended, whose pid another program has now."""
    record = pids.record(state.run_dir, name, pid)
    text = (state.run_dir / f"{name}.pid.json").read_text()
    (state.run_dir / f"{name}.pid.json").write_text(text.replace(record.identity, "another-boot:1"))


def test_a_reused_pid_is_left_alone_and_forgotten(state: State, sleeper: "subprocess.Popen[bytes]") -> None:
    stale_record(state, "consent", sleeper.pid)
    assert state.down() is False
    assert sleeper.poll() is None
    assert pids.read(state.run_dir, "consent") is None


def test_a_reused_pid_of_the_supervisor_blocks_nothing(state: State, sleeper: "subprocess.Popen[bytes]") -> None:
    stale_record(state, SUPERVISOR, sleeper.pid)
    assert state.supervisor() is None
    with state.supervised():
        assert state.supervisor() == ProcessRecord(SUPERVISOR, os.getpid(), pids.identity_of(os.getpid()) or "")
    assert sleeper.poll() is None


def test_what_a_killed_supervisor_left_is_ended(state: State, sleeper: "subprocess.Popen[bytes]") -> None:
    pids.record(state.run_dir, "consent", sleeper.pid)
    assert state.down() is True
    assert sleeper.wait(timeout=10) == -15
    assert list(state.run_dir.glob("*.pid.json")) == []


def test_servers_are_ended_after_the_processes_that_use_them(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    for name in ("kafka", "postgres", "consent", "audit"):
        pids.record(state.run_dir, name, os.getpid())
    monkeypatch.setattr(ProcessRecord, "end", lambda self, _timeout: bool(order.append(self.name)) or True)
    assert state.end_leftovers() == ["audit", "consent", "kafka", "postgres"] == order


def test_a_second_supervisor_is_told_who_the_first_is(state: State) -> None:
    told = pytest.raises(AlreadyRunningError, match=rf"pid {os.getpid()}.*dongui dev down")
    with state.supervised(), told, State(state.base_dir).supervised():
        pass


def test_the_description_of_an_ended_system_is_not_shown_as_running(state: State) -> None:
    with state.supervised():
        state.write({"consent_url": "http://127.0.0.1:1"}, {})
        assert state.described() == {"consent_url": "http://127.0.0.1:1"}
    with pytest.raises(DevstackError, match="no system runs on"):
        state.described()


def test_a_description_of_an_earlier_supervisor_is_not_taken_for_this_ones(state: State) -> None:
    state.write({"consent_url": "http://127.0.0.1:1"}, {})
    found = (state.base_dir / "secrets" / "system.json").read_bytes()
    (state.base_dir / "secrets" / "system.json").write_bytes(found.replace(str(os.getpid()).encode(), b"1"))
    with state.supervised(), pytest.raises(DevstackError, match="still starting"):
        state.described()


def test_the_description_is_readable_by_its_owner_only(state: State) -> None:
    state.write({"tokens": {}}, {})
    assert (state.base_dir / "secrets" / "system.json").stat().st_mode & 0o777 == 0o600


def test_reset_removes_data_and_copies_and_keeps_the_jars(
    state: State, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "data").write_text("x")
    (state.base_dir / "copies.txt").write_text(f"{outside}\n")
    (state.base_dir / "jars").mkdir()
    (state.base_dir / "postgres").mkdir()
    (state.base_dir / "postgres" / "PG_VERSION").write_text("18")
    state.reset()
    assert [p.name for p in state.base_dir.iterdir()] == ["jars"]
    assert not outside.exists()

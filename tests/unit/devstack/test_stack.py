"""What cannot work is said before anything is started."""

import platform
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from services.devstack import stack
from services.devstack.errors import DevstackError
from services.devstack.supervisor import BACKOFF_S_MAX, _Restarts

Usage = namedtuple("Usage", "total used free")


def test_an_unsupported_platform_is_sent_to_compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(DevstackError, match="riscv64; use docker compose"):
        stack.prepare(tmp_path)


def test_a_full_disk_is_told_with_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10 * 1024**3, 9 * 1024**3, 200 * 1024**2))
    with pytest.raises(DevstackError, match=r"200 MiB.*--data-dir"):
        stack.prepare(tmp_path)


def test_the_secrets_directory_is_ours_alone(tmp_path: Path) -> None:
    stack.prepare(tmp_path)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_a_process_that_keeps_falling_waits_longer_each_time() -> None:
    restarts, now, pauses = _Restarts(), 0.0, []
    for _ in range(8):
        pauses.append(restarts.fell("consent", now))
        now += pauses[-1] or 0
        assert restarts.may_start("consent", now)
    assert pauses == [1, 2, 4, 8, 16, BACKOFF_S_MAX, BACKOFF_S_MAX, BACKOFF_S_MAX]


def test_a_process_that_ran_for_long_starts_again_at_once() -> None:
    restarts = _Restarts()
    assert restarts.fell("consent", 0.0) == 1
    assert restarts.fell("consent", 0.5) is None
    assert not restarts.may_start("consent", 0.5)
    assert restarts.may_start("consent", 1.0)
    assert restarts.fell("consent", 100.0) == 1

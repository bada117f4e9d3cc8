"""Java never starts on jars that are not exactly those of the committed lock."""

import hashlib
from pathlib import Path

import pytest

from services.devstack import jars
from services.devstack.errors import JarMismatchError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.jar").write_bytes(b"first")
    (tmp_path / "b.jar").write_bytes(b"second")
    return tmp_path


@pytest.fixture
def lock() -> dict[str, str]:
    return {"a.jar": hashlib.sha256(b"first").hexdigest(), "b.jar": hashlib.sha256(b"second").hexdigest()}


def test_exactly_the_locked_jars_are_the_class_path(folder: Path, lock: dict[str, str]) -> None:
    assert jars.verify(folder, lock) == [folder / "a.jar", folder / "b.jar"]


def test_an_altered_jar_is_refused_by_name(folder: Path, lock: dict[str, str]) -> None:
    (folder / "b.jar").write_bytes(b"Second")
    with pytest.raises(JarMismatchError, match=r"altered: b\.jar"):
        jars.verify(folder, lock)


def test_a_missing_jar_is_refused_by_name(folder: Path, lock: dict[str, str]) -> None:
    (folder / "a.jar").unlink()
    with pytest.raises(JarMismatchError, match=r"missing: a\.jar"):
        jars.verify(folder, lock)


@pytest.mark.parametrize("name", ["c.jar", ".hidden", "notes.txt"])
def test_anything_extra_is_refused_by_name(folder: Path, lock: dict[str, str], name: str) -> None:
    (folder / name).write_bytes(b"more")
    with pytest.raises(JarMismatchError, match=f"extra: {name}"):
        jars.verify(folder, lock)


def test_the_refused_jars_are_kept_as_evidence(tmp_path: Path) -> None:
    folder = tmp_path / f"kafka-{jars.KAFKA_VERSION}"
    folder.mkdir()
    (folder / "kafka-clients.jar").write_bytes(b"altered")
    with pytest.raises(JarMismatchError):
        jars.ensure(tmp_path, lambda _line: None)
    assert (folder / "kafka-clients.jar").read_bytes() == b"altered"


def test_the_lock_names_kafka_itself_and_nothing_but_sha256(tmp_path: Path) -> None:
    lock = jars.load_lock()
    assert f"kafka_2.13-{jars.KAFKA_VERSION}.jar" in lock
    assert all(len(bytes.fromhex(digest)) == 32 for digest in lock.values())

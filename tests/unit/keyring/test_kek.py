"""The KEK file: private, whole, never overwritten; what it wraps opens for the same member only."""

import os
from pathlib import Path

import pytest

from services.keyring import kek
from services.keyring.kek import FileKek, KekError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    kek.generate(tmp_path / "kek")
    return tmp_path / "kek"


def code_of(path: Path) -> str:
    with pytest.raises(KekError) as error:
        FileKek(path)
    assert str(error.value) == error.value.code
    return error.value.code


async def test_what_is_wrapped_opens_again(path: Path) -> None:
    first = FileKek(path)
    wrapped = await first.wrap(b"k" * 32, b"member")
    assert b"k" * 32 not in wrapped
    assert await FileKek(path).unwrap(wrapped, b"member", first.key_id) == b"k" * 32
    assert wrapped != await first.wrap(b"k" * 32, b"member"), "a fresh iv each time"


async def test_what_was_wrapped_for_another_member_or_altered_stays_shut(path: Path) -> None:
    one = FileKek(path)
    wrapped = await one.wrap(b"k" * 32, b"member")
    for broken, aad in ((wrapped, b"other"), (wrapped[:-1] + b"x", b"member"), (wrapped[:5], b"member")):
        with pytest.raises(KekError, match="kek_mismatch"):
            await one.unwrap(broken, aad, one.key_id)


async def test_another_kek_is_told_by_its_name(path: Path, tmp_path: Path) -> None:
    kek.generate(tmp_path / "second")
    first, second = FileKek(path), FileKek(tmp_path / "second")
    assert first.key_id != second.key_id
    with pytest.raises(KekError, match="kek_other"):
        await second.unwrap(await first.wrap(b"k" * 32, b"m"), b"m", first.key_id)


def test_the_name_says_nothing_about_the_key(path: Path) -> None:
    assert path.read_bytes().hex()[:16] not in FileKek(path).key_id
    assert FileKek(path).key_id.startswith("file:")


def test_a_new_kek_is_private_and_never_overwrites(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_bytes()) == 32
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        kek.generate(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_file_that_others_may_touch_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert code_of(path) == "kek_exposed"


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_file_of_another_length_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "kek").write_bytes(bytes(size))
    (tmp_path / "kek").chmod(0o600)
    assert code_of(tmp_path / "kek") == "kek_malformed"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert code_of(tmp_path / "absent") == "kek_unreadable"
    assert code_of(tmp_path) == "kek_unreadable"
    assert code_of(Path(os.devnull)) == "kek_exposed"

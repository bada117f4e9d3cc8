"""A folder of checkpoints: read in order whatever its files' order, and in the same memory however many there are."""

import random
import tracemalloc
from pathlib import Path

import pytest

from services.audit import kept

HASHES = [bytes([n]) * 32 for n in range(40)]


def a_file(folder: Path, start: int, end: int) -> None:
    (folder / f"{end}.leaves").write_bytes(b"".join(HASHES[start:end]))


@pytest.fixture(autouse=True)
def _a_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "AT_ONCE", 3)


@pytest.mark.parametrize("seed", range(5))
def test_leaves_come_in_order_whatever_the_order_of_the_files(tmp_path: Path, seed: int) -> None:
    ends = [1, 2, 9, 10, 11, 12, 20, 38, 39, 40]
    pairs = list(zip([0, *ends], ends, strict=False))
    random.Random(seed).shuffle(pairs)
    for start, end in pairs:
        a_file(tmp_path, start, end)
    assert list(kept.leaves(tmp_path)) == HASHES


def test_a_file_written_again_from_earlier_on_is_read_where_the_one_before_it_ends(tmp_path: Path) -> None:
    for start, end in ((0, 4), (4, 9), (2, 12), (12, 13)):
        a_file(tmp_path, start, end)
    assert list(kept.leaves(tmp_path)) == HASHES[:13]


@pytest.mark.parametrize("spoil", ["hole", "length"])
def test_leaves_end_at_a_hole_and_at_a_file_that_is_no_whole_hashes(tmp_path: Path, spoil: str) -> None:
    for start, end in ((0, 4), (4, 9), (9, 12), (12, 20), (20, 21)):
        a_file(tmp_path, start, end)
    if spoil == "hole":
        (tmp_path / "9.leaves").unlink()
    else:
        (tmp_path / "9.leaves").write_bytes(b"x" * 161)
    assert list(kept.leaves(tmp_path)) == HASHES[:4]


def test_what_is_no_size_is_no_file_of_leaves_and_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    a_file(tmp_path, 0, 4)
    for name in ("05.leaves", "٥.leaves", "5.leaves.new", ".5.leaves.new", "five.leaves", "5"):
        (tmp_path / name).write_bytes(HASHES[4])
    assert list(kept.leaves(tmp_path)) == HASHES[:4]
    assert list(kept.leaves(tmp_path / "nowhere")) == []
    assert kept.notes(tmp_path / "nowhere") == []


def test_the_newest_notes_are_read_oldest_first_and_then_those_named_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "NOTES_MAX", 3)
    for name in ("8", "9", "10", "11", "100", "latest", "cosigned"):
        (tmp_path / f"{name}.txt").write_text(f"note {name}", encoding="utf-8")
    assert kept.notes(tmp_path) == ["note 10", "note 11", "note 100", "note cosigned", "note latest"]


def test_memory_does_not_grow_with_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "AT_ONCE", 500)
    for size in range(1, 10_001):
        (tmp_path / f"{size}.txt").touch()
        (tmp_path / f"{size}.leaves").touch()
    tracemalloc.start()
    try:
        assert kept.notes(tmp_path) == [""] * 1000
        assert list(kept.leaves(tmp_path)) == []
        assert max(kept.sizes(tmp_path, "leaves")) == 10_000
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 700_000, "the paths of ten thousand files take six megabytes"

"""Reads what a folder outside the database keeps: signed notes, and the hashes of the leaves in order.

In a year a folder holds millions of files, so their names are gone through and never held: memory does not grow.
"""

import heapq
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from services.audit.tree import HASH_BYTES

NOTES_MAX = 1000
"""The newest notes are enough: each covers all leaves before it."""
AT_ONCE = 50_000
"""Files of leaves whose order is worked out at a time: for the next ones the folder is gone through again."""
_SIZE: Final = re.compile(r"[1-9][0-9]*")


def notes(folder: Path) -> list[str]:
    """Return the newest notes of a folder, and those named otherwise. Raises OSError, UnicodeDecodeError."""
    newest = sorted(heapq.nlargest(NOTES_MAX, sizes(folder, "txt")))
    named = sorted(stem for stem in _stems(folder, "txt") if not _SIZE.fullmatch(stem))
    return [(folder / f"{stem}.txt").read_text(encoding="utf-8") for stem in (*newest, *named)]


def leaves(folder: Path) -> Iterator[bytes]:
    """Yield the leaf hashes from the first on, as far as the files have no hole."""
    size = 0
    for end in _in_order(folder):
        content = (folder / f"{end}.leaves").read_bytes()
        start = end - len(content) // HASH_BYTES
        # A file that was lost and written again begins earlier than the one before it ends.
        skipped = size - start
        if skipped < 0 or len(content) % HASH_BYTES:
            return
        for at in range(skipped * HASH_BYTES, len(content), HASH_BYTES):
            yield content[at : at + HASH_BYTES]
        size = max(size, end)


def sizes(folder: Path, suffix: str) -> Iterator[int]:
    """Yield the sizes that files are named by, in no order."""
    return (int(stem) for stem in _stems(folder, suffix) if _SIZE.fullmatch(stem))


def _in_order(folder: Path) -> Iterator[int]:
    last = 0
    while following := heapq.nsmallest(AT_ONCE, (size for size in sizes(folder, "leaves") if size > last)):
        yield from following
        last = following[-1]


def _stems(folder: Path, suffix: str) -> Iterator[str]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as found:
        for entry in found:
            stem, _, ending = entry.name.rpartition(".")
            if ending == suffix:
                yield stem

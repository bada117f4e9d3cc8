"""Reads what a folder outside the database keeps: signed notes, and the hashes of the leaves in order."""

from collections.abc import Iterator
from pathlib import Path

from services.audit.tree import HASH_BYTES

NOTES_MAX = 1000
"""The newest notes are enough: each covers all leaves before it."""


def notes(folder: Path) -> list[str]:
    """Return the newest notes of a folder, and those named otherwise. Raises OSError, UnicodeDecodeError."""
    named = sorted(path for path in folder.glob("*.txt") if not path.stem.isdecimal())
    return [path.read_text(encoding="utf-8") for path in (*_numbered(folder, "txt")[-NOTES_MAX:], *named)]


def leaves(folder: Path) -> Iterator[bytes]:
    """Yield the leaf hashes from the first on, as far as the files have no hole."""
    size = 0
    for path in _numbered(folder, "leaves"):
        content = path.read_bytes()
        start = int(path.stem) - len(content) // HASH_BYTES
        # A file that was lost and written again begins earlier than the one before it ends.
        skipped = size - start
        if skipped < 0 or len(content) % HASH_BYTES:
            return
        for at in range(skipped * HASH_BYTES, len(content), HASH_BYTES):
            yield content[at : at + HASH_BYTES]
        size = max(size, int(path.stem))


def _numbered(folder: Path, suffix: str) -> list[Path]:
    found = [path for path in folder.glob(f"*.{suffix}") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))

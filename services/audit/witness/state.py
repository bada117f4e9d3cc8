"""A witness's memory: one JSON file, locked by one process, replaced whole and flushed before any cosignature goes out.

A lost file is never replaced by an empty one in silence: an empty memory would cosign a shortened log.
"""

import base64
import fcntl
import json
import os
from pathlib import Path

from services.audit.checkpoint import Checkpoint


class StateError(Exception):
    """The state file is absent, in use, or not readable; the message says what to do."""


class State:
    """What was last cosigned, by origin. One process at a time: the lock lives as long as the object's file."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the file; raise StateError when it is absent (unless `create`), in use or broken."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = path.with_name(path.name + ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StateError(f"another witness uses {path}") from error
        try:
            self.known = self._read(create)
        except StateError:
            self._lock.close()
            raise

    def _read(self, create: bool) -> dict[str, Checkpoint]:
        if not self._path.exists():
            if not create:
                raise StateError(f"{self._path} is not there; a first start needs --create, a lost file a new key")
            self._write({})
            return {}
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return {o: Checkpoint(o, int(v["size"]), base64.b64decode(v["root"])) for o, v in found.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError(f"{self._path} is not a witness's state") from error

    def remember(self, head: Checkpoint) -> None:
        """Make a checkpoint the last one of its log, on disk before in memory. Raises OSError."""
        after = self.known | {head.origin: head}
        self._write(after)
        self.known = after

    def _write(self, known: dict[str, Checkpoint]) -> None:
        shown = {o: {"size": c.size, "root": base64.b64encode(c.root).decode()} for o, c in known.items()}
        partial = self._path.with_name(self._path.name + ".new")
        with partial.open("w", encoding="utf-8") as file:
            json.dump(shown, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)
        _flush_folder(self._path.parent)

    def close(self) -> None:
        """Give the lock back."""
        self._lock.close()


def _flush_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

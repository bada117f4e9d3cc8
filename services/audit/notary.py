"""Signs checkpoints, and never one that is inconsistent with the last: not after any tampering below it.

Every checkpoint is written outside the database's reach before it is stored inside. The newest one found
outside is what the next must grow from, so a truncated, rewritten or restored database is refused here,
and not given a new signature.
"""

import os
from pathlib import Path

import asyncpg
import structlog
from prometheus_client import Gauge

from services.audit import checkpoint, store, tree
from services.audit.checkpoint import ORIGIN, Checkpoint, CheckpointError
from services.audit.store import MissingNodeError, StoredCheckpoint
from services.runtime.clock import Clock

FOLDER = "checkpoints"
LATEST = "latest.txt"
VKEY_FILE = "audit.vkey"

SIGNED_SIZE = Gauge("dongui_audit_checkpoint_size", "Tree size of the newest checkpoint")
SIGNED_AT = Gauge("dongui_audit_checkpoint_seconds", "Unix time of the newest checkpoint")
REFUSED = Gauge("dongui_audit_checkpoint_refused", "1 when the stored log contradicts a checkpoint")
log = structlog.get_logger("audit")


class InconsistentLogError(Exception):
    """The stored log is not a continuation of the last checkpoint. Run `dongui audit verify`; sign nothing."""


class Notary:
    """Holds the log's signing key and the folder of checkpoints outside the database."""

    def __init__(self, pool: asyncpg.Pool, seed: bytes, data_dir: Path, clock: Clock) -> None:
        self._pool = pool
        self._seed = seed
        self._folder = data_dir / FOLDER
        self._clock = clock
        self.agrees = True
        self.verifier = checkpoint.verifier_of(ORIGIN, seed)

    def publish_key(self) -> None:
        """Write the verifier key beside the checkpoints: what `audit verify` trusts."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path, text = self._folder.parent / VKEY_FILE, self.verifier.vkey() + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # a full disk is no reason not to start
            write_whole(path, text)

    async def sign(self) -> StoredCheckpoint | None:
        """Sign the log as it is; return None when it has not grown.

        Raises InconsistentLogError when it does not continue the last checkpoint.
        """
        async with self._pool.acquire() as tx, tx.transaction(isolation="repeatable_read"):
            try:
                made = await self._next(tx)
            except (InconsistentLogError, MissingNodeError, CheckpointError) as error:
                self._note(agrees=False)
                raise InconsistentLogError from error
            self._note(agrees=True)
            if made is not None:
                await store.insert_checkpoint(tx, made)
        if made is not None:
            SIGNED_SIZE.set(made.size)
            SIGNED_AT.set(made.at.timestamp())
        return made

    def _note(self, *, agrees: bool) -> None:
        self.agrees = agrees
        REFUSED.set(0 if agrees else 1)

    async def _next(self, tx: store.Database) -> StoredCheckpoint | None:
        size = await store.size(tx)
        last, is_stored = await self._last(tx)
        root = await store.root_at(tx, size)
        await _must_continue(tx, last, Checkpoint(ORIGIN, size, root))
        if size == last.size and (is_stored or size == 0):
            return None
        note = checkpoint.sign(Checkpoint(ORIGIN, size, root), self._seed)
        self._write_outside(size, note)
        return StoredCheckpoint(size, root, note, self._clock())

    async def _last(self, tx: store.Database) -> tuple[Checkpoint, bool]:
        """Return the larger of the newest checkpoint inside and outside, and whether it is inside."""
        stored = await store.latest_checkpoint(tx)
        inside = Checkpoint(ORIGIN, 0, tree.EMPTY_ROOT)
        if stored is not None:
            inside = checkpoint.open_checkpoint(stored.note, self.verifier)
        outside = self._read_outside()
        if outside is not None and outside.size > inside.size:
            return outside, False
        if outside is not None and outside.size == inside.size and outside != inside:
            raise InconsistentLogError
        return inside, True

    def _read_outside(self) -> Checkpoint | None:
        path = self._folder / LATEST
        if not path.exists():
            return None
        return checkpoint.open_checkpoint(path.read_text(encoding="utf-8"), self.verifier)

    def _write_outside(self, size: int, note: str) -> None:
        write_whole(self._folder / f"{size}.txt", note)
        write_whole(self._folder / LATEST, note)


async def _must_continue(tx: store.Database, last: Checkpoint, now: Checkpoint) -> None:
    if now.size < last.size:
        raise InconsistentLogError
    path = []
    if 0 < last.size < now.size:
        path = await store.proof(tx, tree.consistency_ranges(last.size, now.size))
    if not tree.verify_consistency((last.size, now.size), last.root, now.root, path):
        raise InconsistentLogError


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that a reader, or a crash, sees the old or the new one and never a part."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)

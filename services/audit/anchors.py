"""Takes the newest checkpoint to every place outside, and keeps what witnesses sign with the checkpoint.

A place that cannot be reached is tried again; one that refuses knows a history that the log contradicts: an alarm,
and the process is no longer ready.
"""

import asyncio
from dataclasses import dataclass, field

import asyncpg
import httpx
import structlog
from prometheus_client import Counter, Gauge

from services.audit import cosignature, store, tree
from services.audit.places import Folder, Offer, Place, PlaceError, PlaceRefusedError, Witness
from services.audit.store import SQL, MissingNodeError, StoredCheckpoint
from services.runtime.clock import Clock
from services.runtime.settings import Settings

LEAVES_BATCH = 50_000

ANCHORED_SIZE = Gauge("dongui_audit_anchored_size", "Size of the newest checkpoint a place keeps", ["place"])
ANCHORED_AT = Gauge("dongui_audit_anchored_seconds", "Unix time when a place last took one", ["place"])
FAILED = Counter("dongui_audit_anchor_failures", "Attempts that did not reach a place", ["place"])
REFUSED = Gauge("dongui_audit_anchor_refused", "1 when a place knows a history that the log contradicts", ["place"])
log = structlog.get_logger("audit")


@dataclass
class Anchors:
    """The places, in order: witnesses first, so that folders keep the cosignatures too."""

    pool: asyncpg.Pool
    witnesses: list[Place]
    folders: list[Place]
    clock: Clock
    refused: set[str] = field(default_factory=set)

    @property
    def agrees(self) -> bool:
        """Whether no place contradicts the log."""
        return not self.refused

    async def push(self) -> None:
        """Take the newest checkpoint wherever it is not yet."""
        latest = await store.latest_checkpoint(self.pool)
        if latest is None:
            return
        taken = {row["place"] for row in await self.pool.fetch(SQL["anchored_places"], latest.size)}
        for group in (self.witnesses, self.folders):
            note = await store.cosigned_note(self.pool, latest)
            await asyncio.gather(*(self._put(place, latest, note) for place in group if place.name not in taken))

    async def _put(self, place: Place, latest: StoredCheckpoint, note: str) -> None:
        try:
            lines = await place.put(self._offer(latest, note))
        except (PlaceRefusedError, MissingNodeError) as error:
            self.refused.add(place.name)
            REFUSED.labels(place.name).set(1)
            log.error("audit_place_refused", place=place.name, error=str(error) or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever one place does ends neither the others nor the writer
            FAILED.labels(place.name).inc()
            told = str(error) if isinstance(error, PlaceError) else type(error).__name__
            log.warning("audit_place_unreachable", place=place.name, error=told)
        else:
            self.refused.discard(place.name)
            if lines is None:
                return
            await self.pool.execute(SQL["insert_anchored"], latest.size, place.name, lines, self.clock())
            REFUSED.labels(place.name).set(0)
            ANCHORED_SIZE.labels(place.name).set(latest.size)
            ANCHORED_AT.labels(place.name).set(self.clock().timestamp())

    def _offer(self, latest: StoredCheckpoint, note: str) -> Offer:
        async def prove(old: int) -> list[bytes]:
            if not 0 < old < latest.size:
                return []
            return await store.proof(self.pool, tree.consistency_ranges(old, latest.size))

        async def leaves(old: int) -> bytes:
            found = []
            for start in range(old, latest.size, LEAVES_BATCH):
                end = min(start + LEAVES_BATCH, latest.size)
                found += [bytes(row[0]) for row in await self.pool.fetch(SQL["leaf_hashes"], start, end)]
            return b"".join(found)

        return Offer(latest.size, note, prove, leaves)


def of_settings(settings: Settings, pool: asyncpg.Pool, client: httpx.AsyncClient, clock: Clock) -> Anchors:
    """Return the configured places; the data directory is always one. Raises CheckpointError for a bad key."""
    keys = {url: cosignature.cosigner_key(vkey) for url, vkey in settings.witnesses.items()}
    witnesses: list[Place] = [Witness(url, key, client) for url, key in keys.items()]
    own: Place = Folder("data-dir", settings.data_dir / "checkpoints")
    copies: list[Place] = [Folder(f"copy-{n}", path) for n, path in enumerate(settings.checkpoint_copies, 1)]
    return Anchors(pool, witnesses, [own, *copies, *_stamps(settings, client)], clock)


def _stamps(settings: Settings, client: httpx.AsyncClient) -> list[Place]:
    """Return the time-stamping authority, if one is set. Raises OSError, ValueError, ModuleNotFoundError."""
    if settings.timestamp_url is None:
        return []
    settings.require("timestamp_roots_file")
    from services.audit.timestamp import Timestamp  # noqa: PLC0415 - of the extra `timestamp`

    assert settings.timestamp_roots_file
    folder, interval_s = settings.data_dir / "checkpoints", settings.timestamp_interval_s
    return [Timestamp.of_file(settings.timestamp_url, settings.timestamp_roots_file, folder, client, interval_s)]


async def watch(anchors: Anchors, interval_s: float, stop: asyncio.Event) -> None:
    """Push every `interval_s` until `stop`."""
    while not stop.is_set():
        await anchors.push()
        try:
            await asyncio.wait_for(stop.wait(), interval_s)
        except TimeoutError:
            continue

"""Reads the dead-letter topics, so that the system itself knows how many letters nobody has handled, and since when.

Only the id and the topic of a letter are kept. A letter that its topic no longer keeps can be neither sent again nor
looked at: it is no longer counted.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from aiokafka import ConsumerRecord

from schemas.topics import DLQ_SUFFIX, Topic, all_topics
from services.consent.handlers import Consent
from services.consent.store import SQL
from services.runtime.clock import utc_now
from services.runtime.consumer import PostgresOffsets, follow
from services.runtime.dead_letter import letter_id, origin_of, written_at
from services.runtime.postgres import Connection
from services.runtime.settings import Settings

PACE_S: Final = 2.0
"""Nobody waits for a count."""


async def run(settings: Settings, consent: Consent, stop: asyncio.Event) -> None:
    """Follow every dead-letter topic until `stop`."""
    await follow(
        settings,
        topics=[t.name for t in _topics(consent)],
        pool=consent.pool,
        offsets=PostgresOffsets(),
        handle=note,
        stop=stop,
        application="consent-letters",
        pace_s=PACE_S,
    )


def _topics(consent: Consent) -> list[Topic]:
    return [t for t in all_topics(consent.rules.affiliates) if t.name.endswith(DLQ_SUFFIX)]


async def note(tx: Connection, batch: Sequence["ConsumerRecord[Any, Any]"]) -> None:
    """Keep which letters there are; the same batch again changes nothing."""
    origins = [origin_of(record) for record in batch]
    ats = [written_at(record, utc_now()) for record in batch]  # without a time it is a letter all the same
    topics = [origin.rsplit("/", 2)[0] for origin in origins]
    await tx.execute(SQL["letter_seen"], [letter_id(origin) for origin in origins], topics, ats)


async def unhandled(consent: Consent) -> dict[str, tuple[int, datetime]]:
    """Return per topic how many letters nobody handled, and when the oldest was written."""
    since = consent.clock() - timedelta(milliseconds=max(t.retention_ms for t in _topics(consent)))
    await consent.pool.execute(SQL["letter_forget"], since)
    rows = await consent.pool.fetch(SQL["letter_open"], since)
    return {row["topic"]: (row["letters"], row["oldest"]) for row in rows}

"""Every topic in one table: name, partitions, how long it keeps what. Partition counts never change in place."""

from collections.abc import Iterable
from dataclasses import dataclass

DAY_MS = 24 * 60 * 60 * 1000

FACTS = "dongui.facts.v1"
NOTICES = "dongui.notices.v1"
RECEIPTS = "dongui.receipts.v1"
SUPPRESSIONS = "dongui.suppressions.v1"
RETENTION = "dongui.retention.v1"
DLQ_SUFFIX = ".dlq"


def affiliate_topic(affiliate_id: str) -> str:
    """Return the one topic on which this affiliate's records travel, and nobody else's."""
    return f"dongui.affiliate.{affiliate_id}.v1"


def dlq_of(topic: str) -> str:
    """Return the dead-letter topic of a topic."""
    return topic + DLQ_SUFFIX


@dataclass(frozen=True)
class Topic:
    """`retention_ms` -1 = for ever. Never compacted: an offset hole would hide a loss (reliability.md A1)."""

    name: str
    partitions: int
    retention_ms: int


def _main_topics(affiliate_ids: Iterable[str]) -> list[Topic]:
    affiliates = [Topic(affiliate_topic(a), 8, 30 * DAY_MS) for a in affiliate_ids]
    return [
        Topic(FACTS, 8, 30 * DAY_MS),
        *affiliates,
        Topic(NOTICES, 8, 30 * DAY_MS),
        Topic(RECEIPTS, 8, 30 * DAY_MS),
        Topic(RETENTION, 8, 30 * DAY_MS),
    ]


def all_topics(affiliate_ids: Iterable[str]) -> list[Topic]:
    """Return every topic the product needs for these affiliates, dead-letter topics included."""
    mains = _main_topics(affiliate_ids)
    dlqs = [Topic(dlq_of(t.name), 1, t.retention_ms) for t in mains]
    return [*mains, *dlqs, Topic(SUPPRESSIONS, 1, -1)]

"""Makes a plan: finds the offsets, reads the records once, and previews them against the live store. Writes nothing."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from uuid_utils import uuid7

from schemas.topics import affiliate_topic
from services.propagator import model
from services.propagator.handlers import Outcome, Propagator
from services.propagator.model import MemberRow, ProcessedRow, State
from services.propagator.replay import offsets, plan, reader
from services.propagator.replay.plan import Difference, Effect, Plan, Selection, Share, Source
from services.runtime.settings import Settings

UNPACED: Final = 1_000_000
Open = Callable[[str], Awaitable[Propagator]]
"""Gives the applier of an affiliate's live store."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a person asks for; the planner finds out what it means."""

    selection: Selection
    reason: str
    rate: int
    source: Source = "kafka"
    effects: tuple[Effect, ...] = ()


async def make(settings: Settings, wish: Wish, at: datetime, open_store: Open) -> Plan:
    """Return the plan of a wish. Raises TopicMissingError, KeyServiceError, database and Kafka errors."""
    started = time.monotonic()
    shares = []
    for affiliate in wish.selection.affiliates:
        async with reader.consuming(settings) as consumer:
            shares.append(await _share(settings, consumer, await open_store(affiliate), wish.selection))
    took_s = time.monotonic() - started
    total = sum(r.records for s in shares for r in s.ranges)
    return Plan(
        plan_id=str(uuid7()),
        planned_at=at,
        reason=wish.reason,
        source=wish.source,
        selection=wish.selection,
        effects=wish.effects,
        rate=wish.rate,
        shares=tuple(shares),
        estimated_s=round(max(total / wish.rate, took_s), 1),
        not_sent=plan.not_sent(shares, wish.effects),
    )


@dataclass
class Tally:
    """What previews have found so far of one affiliate."""

    read: int = 0
    selected: int = 0
    duplicates: int = 0
    refused: int = 0
    stages: dict[str, int] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    before: dict[str, State] = field(default_factory=dict)
    after: dict[str, State] = field(default_factory=dict)

    def add(self, records: Sequence[Any], outcome: Outcome) -> None:
        """Count one previewed batch; keep the first state and the last of each member that would change."""
        self.selected += len(records)
        self.duplicates += outcome.duplicates
        self.refused += len(outcome.refused)
        self.members |= {r.key.decode("ascii", "replace") for r in records if r.key}
        for _, stage in outcome.answers:
            self.stages[stage] = self.stages.get(stage, 0) + 1
        for before, after in outcome.changes():
            self.before.setdefault(before.member_ref, before)
            self.after[after.member_ref] = after

    def differences(self) -> list[Difference]:
        """Return how the visible rows would change, member by member."""
        pairs = ((self.before[ref], self.after[ref]) for ref in sorted(self.after))
        found = [Difference(member_ref=b.member_ref, rows=rows) for b, a in pairs if (rows := changed(b, a))]
        return sorted(found, key=lambda d: d.member_ref)


async def _share(settings: Settings, consumer: AIOKafkaConsumer, store: Propagator, selection: Selection) -> Share:
    found = await offsets.ranges(settings, consumer, store.affiliate, selection)
    tally, topic = Tally(), settings.topic_prefix + affiliate_topic(store.affiliate)
    async for records, _ in reader.read(consumer, topic, found, UNPACED):
        tally.read += len(records)
        if wanted := [r for r in records if plan.selects(selection, r)]:
            tally.add(wanted, await store.preview(wanted, tally.after))
    different = tally.differences()
    return Share(
        affiliate=store.affiliate,
        topic=affiliate_topic(store.affiliate),
        ranges=found,
        read=tally.read,
        selected=tally.selected,
        duplicates=tally.duplicates,
        refused=tally.refused,
        members=len(tally.members),
        members_changed=len(different),
        differences=tuple(different[: plan.SHOWN_MAX]),
        **{stage: tally.stages.get(stage, 0) for stage in ("applied", "superseded", "skipped_destroyed")},
    )


def changed(before: State, after: State) -> dict[str, tuple[str, ...]]:
    """Return by row the names of the columns in which two states differ; `(row)` where one has none."""
    pairs: dict[str, tuple[MemberRow | ProcessedRow | None, MemberRow | ProcessedRow | None]] = {
        "member": (model.member_row(before), model.member_row(after)),
        "processed_member": (model.processed_row(before), model.processed_row(after)),
    }
    return {name: columns for name, (one, other) in pairs.items() if (columns := _columns(one, other))}


def _columns(one: MemberRow | ProcessedRow | None, other: MemberRow | ProcessedRow | None) -> tuple[str, ...]:
    if one is None or other is None:
        return () if one is other else ("(row)",)
    return tuple(name for name in one.__slots__ if getattr(one, name) != getattr(other, name))

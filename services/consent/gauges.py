"""What is owed to people, as gauges: read from the ledger every few seconds, whichever process has fallen silent.

Every series is there from the start, at zero: an alert must not wait for the first trouble to exist. No label holds
anything of a person, and the kinds of duties of clause 3.3 go under one name.
"""

import asyncio
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Final

from prometheus_client import Gauge

from schemas.topics import DLQ_SUFFIX, all_topics
from services.consent import changes
from services.consent.canaries import handlers as canaries
from services.consent.duties import STATES
from services.consent.handlers import Consent
from services.consent.letters import seen
from services.consent.store import SQL
from services.policy.duties import all_duties
from services.runtime import looks
from services.runtime.clock import KST
from services.runtime.settings import Settings

RESTRICTED: Final = "restricted"

LOOKED_AT = Gauge("dongui_gauges_read_seconds", "When the gauges of the ledger were last read (Unix time)")
LAG = Gauge("dongui_lag_changes", "Changes a recipient has not answered", ["recipient", "kind"])
LAG_S = Gauge("dongui_lag_seconds", "Age of the oldest change a recipient has not answered", ["recipient", "kind"])
WITHDRAWAL = Gauge(
    "dongui_oldest_unapplied_withdrawal_seconds",
    "Age of the oldest withdrawal, revocation or suspension a recipient has not answered",
    ["recipient", "kind"],
)
DUTIES = Gauge(
    "dongui_duties", "Duties that are not done, by state: open, warning (near its last day), late", ["kind", "state"]
)
DAYS_LEFT = Gauge("dongui_duty_days_left", "Days until the last day of the most urgent duty (KST)", ["kind"])
LETTERS = Gauge("dongui_dead_letters_unhandled", "Dead letters neither sent again nor discarded", ["topic"])
LETTER_S = Gauge("dongui_dead_letter_oldest_seconds", "Age of the oldest dead letter nobody handled", ["topic"])
RETURNED_AT = Gauge(
    "dongui_canary_returned_seconds",
    "When the last canary that came back had been sent (Unix time); at first, when this process began",
    ["affiliate"],
)
ROUND_TRIP = Gauge(
    "dongui_canary_round_trip_seconds", "From the change to the store's commit, last canary", ["affiliate"]
)
INTERVAL = Gauge("dongui_canary_interval_seconds", "How often a canary is to be sent", ["affiliate"])


async def watch(settings: Settings, consent: Consent, stop: asyncio.Event) -> None:
    """Look every few seconds until `stop`; a database that is away is looked at again later."""
    began_at = consent.clock()

    async def at_all() -> None:
        await look(consent)
        if settings.canary_interval_s:
            await look_at_canaries(consent, settings.canary_interval_s, began_at)
        LOOKED_AT.set_to_current_time()

    await looks.watch(at_all, stop, unknown="gauges_unknown")


async def look(consent: Consent) -> None:
    """Read the ledger once."""
    now = consent.clock()
    _show_lag(await changes.lag(consent), consent.rules.affiliates, now)
    today = now.astimezone(KST).date()
    _show_duties(await consent.pool.fetch(SQL["count_duties"], today), today)
    _show_letters(consent.rules.affiliates, await seen.unhandled(consent), now)


async def look_at_canaries(consent: Consent, interval_s: float, began_at: datetime) -> None:
    """Say up to when each affiliate's stream is known to move; `began_at` is for one that never had a canary."""
    found = {one.affiliate: one for one in await canaries.states(consent)}
    for affiliate in consent.rules.affiliates:
        one = found.get(affiliate)
        INTERVAL.labels(affiliate).set(interval_s)
        RETURNED_AT.labels(affiliate).set((one.heard_at() if one else began_at).timestamp())
        if one and one.round_trip_s is not None:
            ROUND_TRIP.labels(affiliate).set(one.round_trip_s)


def _show_lag(rows: Iterable[dict[str, Any]], affiliates: Iterable[str], now: datetime) -> None:
    """Recipients that have answered everything stay, at zero."""
    behind = {(row["recipient"], row["kind"]): row for row in rows}
    known = {(a, "affiliate") for a in affiliates} | {(s[0], s[1]) for s in _labels(LAG)}
    for labels in sorted(known | behind.keys()):
        row = behind.get(labels, {"changes": 0, "seconds": 0.0, "oldest_withdrawal_at": None})
        since = row["oldest_withdrawal_at"]
        LAG.labels(*labels).set(row["changes"])
        LAG_S.labels(*labels).set(row["seconds"])
        WITHDRAWAL.labels(*labels).set((now - since).total_seconds() if since else 0)


def _labels(gauge: Gauge) -> list[tuple[str, ...]]:
    """Return the label values of the series a gauge has already."""
    return [tuple(s.labels[n] for n in ("recipient", "kind")) for m in gauge.collect() for s in m.samples]


def _show_duties(rows: Iterable[Any], today: date) -> None:
    counts = {(_shown_as(kind), state): 0 for kind in all_duties() for state in STATES}
    first: dict[str, date] = {}
    for row in rows:
        kind = _shown_as(row["kind"])
        for state in STATES:
            counts[kind, state] += row[state]
        first[kind] = min(row["first_due"], first.get(kind, row["first_due"]))
    for labels, count in counts.items():
        DUTIES.labels(*labels).set(count)
    DAYS_LEFT.clear()
    for kind, due_on in first.items():
        DAYS_LEFT.labels(kind).set((due_on - today).days)


def _shown_as(kind: str) -> str:
    return RESTRICTED if all_duties()[kind].restricted else kind


def _show_letters(affiliates: Iterable[str], found: dict[str, tuple[int, datetime]], now: datetime) -> None:
    mains = {t.name.removesuffix(DLQ_SUFFIX) for t in all_topics(affiliates) if t.name.endswith(DLQ_SUFFIX)}
    for topic in sorted(mains | found.keys()):
        letters, oldest = found.get(topic, (0, now))
        LETTERS.labels(topic).set(letters)
        LETTER_S.labels(topic).set((now - oldest).total_seconds())

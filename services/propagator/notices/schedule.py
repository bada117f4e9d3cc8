"""Pure: when a notice is sent again.

Clause 5.7 knows no "gave up": after about three days a notice is asked once a day, and staff see it wait.
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from services.propagator.notices.plan import Schedule


def delay_after(schedule: Schedule, attempts: int, jitter: float) -> timedelta:
    """Return the wait after `attempts` attempts (0 = none yet), longer by `jitter` (0 to 1) times the share."""
    delays = schedule.delays
    return delays[min(attempts, len(delays) - 1)] * (1 + schedule.jitter_share * jitter)


def next_at(schedule: Schedule, now: datetime, attempts: int, jitter: float, retry_after: str | None) -> datetime:
    """Return when to send again after `attempts` attempts; never sooner than the receiver asked for.

    `retry_after` is the header as it came. A wish for more than a day is taken as a day.
    """
    asked = wished(retry_after, now, schedule.retry_after_max)
    return now + max(delay_after(schedule, attempts, jitter), asked)


def wished(retry_after: str | None, now: datetime, limit: timedelta) -> timedelta:
    """Return the wait a Retry-After header asks for (RFC 9110 10.2.3: seconds or a date); zero when it says nothing."""
    text = (retry_after or "").strip()
    if not text:
        return timedelta(0)
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=min(int(text[:9]), 10**8)), limit)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a number in it may be longer than any date has
        return timedelta(0)
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(aware - now, timedelta(0)), limit)

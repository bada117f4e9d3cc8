"""Pure: when a notice is sent again. The schedule of Standard Webhooks 1.0; its last step repeats until the answer.

Clause 5.7 knows no "gave up": after about three days a notice is asked once a day, and staff see it wait.
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DELAYS: Final = (
    0 * SECOND,
    5 * SECOND,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
)
"""The wait before attempt 1, 2, …, 10; before every later attempt the last."""
JITTER_SHARE: Final = 0.1
RETRY_AFTER_MAX: Final = 24 * HOUR


def delay_after(attempts: int, jitter: float) -> timedelta:
    """Return the wait after `attempts` attempts (0 = none yet), longer by `jitter` (0 to 1) times a tenth."""
    return DELAYS[min(attempts, len(DELAYS) - 1)] * (1 + JITTER_SHARE * jitter)


def next_at(now: datetime, attempts: int, jitter: float, retry_after: str | None) -> datetime:
    """Return when to send again after `attempts` attempts; never sooner than the receiver asked for.

    `retry_after` is the header as it came. A wish for more than a day is taken as a day.
    """
    return now + max(delay_after(attempts, jitter), wished(retry_after, now))


def wished(retry_after: str | None, now: datetime) -> timedelta:
    """Return the wait a Retry-After header asks for (RFC 9110 10.2.3: seconds or a date); zero when it says nothing."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=min(int(text[:9]), 10**8)), RETRY_AFTER_MAX)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return timedelta(0)
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(aware - now, timedelta(0)), RETRY_AFTER_MAX)

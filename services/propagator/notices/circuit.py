"""Pure: a third party that fails again and again is asked once per pause, not once per notice.

One circuit per third party in each sender. It keeps no notice's schedule: what is due stays due, and leaves when
the circuit closes.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from services.propagator.notices import plan, schedule
from services.propagator.notices.model import Reply

BUSY = frozenset({429, 503})
State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class Circuit:
    """`failures` in a row so far; `until` is the end of the present pause, None while closed; `pauses` counts them."""

    failures: int = 0
    until: datetime | None = None
    pauses: int = 0

    def state(self, now: datetime) -> State:
        if self.until is None:
            return "closed"
        return "open" if now < self.until else "half_open"

    def room(self, now: datetime, in_flight: int, limit: int) -> int:
        """Return how many more may be sent now: up to `limit` when closed, one alone after a pause, else none."""
        found = self.state(now)
        if found == "half_open":
            return 0 if in_flight else 1
        return max(limit - in_flight, 0) if found == "closed" else 0


def after(circuit: Circuit, reply: Reply, now: datetime, jitter: float, numbers: plan.Circuit) -> Circuit:
    """Return the circuit after one answer. A 2xx closes it, a Retry-After of a busy third party opens it at once."""
    if reply.is_success:
        return Circuit()
    failed = replace(circuit, failures=circuit.failures + 1)
    asked = schedule.wished(reply.retry_after, now, numbers.retry_after_max) if reply.status in BUSY else timedelta(0)
    if asked:
        return replace(failed, until=max(now + asked, circuit.until or now))
    if failed.failures < numbers.failures or circuit.state(now) == "open":
        return failed
    pause = min(numbers.pause * 2 ** min(circuit.pauses, 20), numbers.pause_max) * (1 + jitter / 10)
    return replace(failed, until=now + pause, pauses=circuit.pauses + 1)

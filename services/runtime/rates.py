"""How often one caller may ask: a token bucket for each principal, and for each address that shows no good token.

In memory, for one process: it keeps a loop that runs wild, or somebody who guesses, from taking the service away from
the others. It is no quota: the defaults lie far above what any honest caller needs.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.runtime.problem import Problem
from services.runtime.settings import Settings

CALLERS_MAX: Final = 10_000
"""Buckets kept; the one that was not used for longest is forgotten first, and is full when its caller returns."""
BURST_S: Final = 10.0
"""A bucket holds what is allowed in this time."""
OWN: Final = frozenset({"member", "third_party"})
"""Roles of those who act for themselves only; everybody else is a process or a member of staff."""


@dataclass
class Bucket:
    """What is left, as of when."""

    left: float
    at: float


class Rates:
    """Takes one token per request. `per_s` is for people, third parties and addresses, `trusted_per_s` for the rest."""

    def __init__(self, per_s: float, trusted_per_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._trusted_per_s = trusted_per_s
        self._now = now
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Rates":
        """Build from `rate_per_s` and `rate_trusted_per_s`."""
        return cls(settings.rate_per_s, settings.rate_trusted_per_s)

    def of_principal(self, sub: str, roles: frozenset[str]) -> None:
        """Take one for who shows a good token. Raises Problem 429 with Retry-After when none is left."""
        self._take(f"sub:{sub}", self._per_s if roles <= OWN else self._trusted_per_s)

    def of_address(self, address: str) -> None:
        """Take one for who shows none. Raises Problem 429 with Retry-After when none is left."""
        self._take(f"address:{address}", self._per_s)

    def _take(self, caller: str, per_s: float) -> None:
        now, full = self._now(), per_s * BURST_S
        bucket = self._buckets.pop(caller, None) or Bucket(full, now)
        bucket.left = min(full, bucket.left + (now - bucket.at) * per_s)
        bucket.at = now
        self._buckets[caller] = bucket
        if len(self._buckets) > CALLERS_MAX:
            self._buckets.popitem(last=False)
        if bucket.left < 1:
            raise too_many(math.ceil((1 - bucket.left) / per_s))
        bucket.left -= 1


def too_many(wait_s: int) -> Problem:
    """The answer to who asks too often."""
    return Problem(
        429,
        "too_many_requests",
        "요청이 너무 잦습니다. Retry-After 뒤에 다시 보내 주세요.",
        "Too many requests. Send it again after Retry-After.",
        headers={"Retry-After": str(wait_s)},
    )

"""Keys kept for a short while in one process: bounded in number and age, forgotten at a shred."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

TTL_S_MAX: Final = 300.0
"""What docs/affiliates.md promises of every copy of a key."""


class KeyCache:
    """member_ref -> data key. The oldest goes first when `size_max` is reached.

    `generation` grows with every `forget`: a key that was read from the database under an older
    generation may have been shredded meanwhile, and `put` leaves it out.
    """

    def __init__(self, *, ttl_s: float, size_max: int, monotonic: Callable[[], float]) -> None:
        """Raise ValueError for a time to live above five minutes."""
        if not 0 <= ttl_s <= TTL_S_MAX:
            raise ValueError("a key is kept for at most 300 s")
        self._ttl_s = ttl_s
        self._size_max = size_max
        self._monotonic = monotonic
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self.generation = 0

    def get(self, member_ref: str) -> bytes | None:
        """Return the key, or None when it is absent or too old."""
        found = self._kept.get(member_ref)
        if found is None:
            return None
        if self._monotonic() >= found[0]:
            del self._kept[member_ref]
            return None
        return found[1]

    def put(self, member_ref: str, key: bytes, generation: int) -> None:
        """Keep a key read under `generation`, unless a shred came between."""
        if generation != self.generation:
            return
        self._expire()
        self._kept.pop(member_ref, None)
        while self._kept and len(self._kept) >= self._size_max:
            self._kept.popitem(last=False)
        self._kept[member_ref] = (self._monotonic() + self._ttl_s, key)

    def forget(self, member_ref: str) -> None:
        """Drop a key and everything that is on its way into the cache."""
        self.generation += 1
        self._kept.pop(member_ref, None)

    def _expire(self) -> None:
        """All live equally long and are in order of arrival, so the stale ones are in front."""
        now = self._monotonic()
        while self._kept and next(iter(self._kept.values()))[0] <= now:
            self._kept.popitem(last=False)

"""Batches when busy, no delay when quiet: what comes between two turns goes together in the second.

A transaction costs the same for one record as for twenty. With a pace, a busy stream costs a fixed number of
commits a second, whatever its rate, and the cores are left to the requests.
"""

import asyncio


class Pace:
    """Turns at least `interval_s` apart; after a longer pause the next turn comes at once."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next_at = float("-inf")

    async def turn(self) -> None:
        """Wait for the next turn."""
        now = asyncio.get_running_loop().time
        if (early_s := self._next_at - now()) > 0:
            await asyncio.sleep(early_s)
        self._next_at = now() + self._interval_s

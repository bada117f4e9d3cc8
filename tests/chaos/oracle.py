"""The one oracle under chaos: a receiver drops what it has by its id, and a newer notice may answer for an older one.

Beside what each member must look like it counts the whole of the log against the whole of the ledger.
"""

import asyncio
from collections import Counter
from typing import Any

import asyncpg

from tests.support.expected import PARTNER, Expected
from tests.support.oracle import Oracle, received_from

CHANGES = "SELECT change_id::text FROM change"
FACTS = "SELECT change_id::text FROM entry WHERE change_id IS NOT NULL AND stage IS NULL"


class ChaosOracle(Oracle):
    """After a look: `resent`, the repetitions that the receiver dropped; `overtaken`, the notices that were passed."""

    def __init__(self, described: dict[str, Any]) -> None:
        super().__init__(described, self._once)
        self._url = f"{described['partner_url']}/received"
        self.resent = 0
        self.overtaken = 0

    async def _once(self) -> list[dict[str, Any]]:
        messages = await received_from(self._url)
        by_id = {message["data"]["notice_id"]: message for message in reversed(messages)}
        self.resent = len(messages) - len(by_id)
        return list(by_id.values())

    async def differences(self, expected: Expected) -> list[str]:
        """Return every difference as one line without values."""
        return await super().differences(expected) + await self._counts()

    async def _counts(self) -> list[str]:
        """As many facts in the log as changes in the ledger, one for one."""
        found = []
        for name, statement in (("consent", CHANGES), ("audit", FACTS)):
            connection = await asyncpg.connect(self._databases[name])
            try:
                found.append(Counter(row["change_id"] for row in await connection.fetch(statement)))
            finally:
                await connection.close()
        changes, facts = found
        if changes == facts:
            return []
        return [
            f"audit: {(facts - changes).total()} facts too many, {(changes - facts).total()} missing of all changes"
        ]

    async def _partner(self, expected: Expected) -> list[str]:
        """Each notice once by its id, with the values owed; a missing one only where a newer one carries its items."""
        told: dict[str, list[dict[str, Any]]] = {}
        for message in await self._received():
            told.setdefault(message["data"]["change_id"], []).append(message["data"])
        mine = {c: n for c, n in told.items() if c in expected.changes}
        missing = [c for c in expected.notices if c not in mine]
        passed = [c for c in missing if _overtaken(c, expected, set(mine))]
        self.overtaken = len(passed)
        found = [f"{PARTNER}: notice of {c} missing" for c in missing if c not in passed]
        found += [f"{PARTNER}: unexplained notice of {c}" for c in mine if c not in expected.notices]
        found += [f"{PARTNER}: {len(n)} notices of {c}" for c, n in mine.items() if len(n) > 1]
        wrong = [c for c, n in mine.items() if any(one["values"] != expected.notices.get(c) for one in n)]
        return found + [f"{PARTNER}: notice of {c} has other values" for c in wrong]


def _overtaken(change_id: str, expected: Expected, told: set[str]) -> bool:
    ref, seq = expected.changes[change_id]
    items = expected.notices[change_id].keys()
    newer = [
        c for c in told if c in expected.notices and expected.changes[c][0] == ref and expected.changes[c][1] > seq
    ]
    return any(items <= expected.notices[c].keys() for c in newer)


async def settled(oracle: ChaosOracle, expected: Expected, timeout_s: float) -> list[str]:
    """Wait until nothing differs, whatever is still starting; return what still differs after `timeout_s`."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        try:
            found = await oracle.differences(expected)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            found = [f"not to be had: {type(error).__name__}"]
        if not found or asyncio.get_running_loop().time() > deadline:
            return found
        await asyncio.sleep(1.0)

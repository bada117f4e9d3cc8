"""Asks the consent service what this affiliate must hold: digests by range, and the records that make a member anew."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import aiohttp
import orjson
from aiokafka import ConsumerRecord

from schemas.receipts import Stage
from schemas.topics import affiliate_topic

TIMEOUT_S: Final = 60.0
MEMBERS_MAX: Final = 500


class LedgerError(Exception):
    """The consent service did not answer as agreed; try again. `code` says which."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Span:
    """References above `after` up to `until` (None: no bound), how many of them must have rows, and their digest.

    `last` is the last reference the ledger has in it; None: it has none.
    """

    after: str | None
    until: str | None
    last: str | None
    members: int
    digest: str


@dataclass(frozen=True)
class Owed:
    """A change the affiliate has not answered yet."""

    change_id: str
    seq: int
    at: datetime


@dataclass(frozen=True)
class Holding:
    """What the ledger says of one member: the last seq told, the records that make it, the answers that are owed."""

    member_ref: str
    seq: int
    records: tuple["ConsumerRecord[Any, Any]", ...]
    owed: tuple[Owed, ...]

    def stage_of(self, owed: Owed) -> Stage:
        """Return the answer of a store that is as this says: the last is applied, what it covers is superseded."""
        return "applied" if owed.seq == self.seq else "superseded"


class Ledger:
    """The ledger as one affiliate may read it: with its own token."""

    def __init__(self, session: aiohttp.ClientSession, url: str, affiliate: str, token: str) -> None:
        self._session = session
        self._url = f"{url.rstrip('/')}/v1/affiliates/{affiliate}"
        self._topic = affiliate_topic(affiliate)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def digests(
        self, salt: str, *, size: int, parts: int, after: str | None = None, until: str | None = None
    ) -> tuple[list[Span], str | None]:
        """Return the digests of the next `parts` ranges of `size` members, and where to go on (None: the end)."""
        asked = {"salt": salt, "size": str(size), "parts": str(parts), "after": after, "until": until}
        answer = await self._ask("GET", "/digests", params={k: v for k, v in asked.items() if v is not None})
        return [Span(**found) for found in answer["ranges"]], answer["next"]

    async def members(self, refs: Sequence[str]) -> list[Holding]:
        """Return what must be held of these members, at most 500."""
        answer = await self._ask("POST", "/holdings", data=orjson.dumps({"members": list(refs)}))
        return [self._holding(found) for found in answer["members"]]

    async def page(self, after: str | None, limit: int) -> tuple[list[Holding], str | None]:
        """Return what must be held of the next members in order, and where to go on."""
        asked = {"limit": str(limit)} | ({"after": after} if after else {})
        answer = await self._ask("GET", "/holdings", params=asked)
        return [self._holding(found) for found in answer["members"]], answer["next"]

    async def unanswered(self, after: str | None) -> tuple[list[tuple[str, Owed]], str | None]:
        """Return the next changes of all members (reference, what is owed) without an answer, and where to go on."""
        answer = await self._ask("GET", "/unanswered", params={"after": after} if after else {})
        return [(found["member_ref"], _owed(found)) for found in answer["changes"]], answer["next"]

    def _holding(self, found: dict[str, Any]) -> Holding:
        owed = tuple(map(_owed, found["unanswered"]))
        return Holding(found["member_ref"], found["seq"], tuple(map(self._record, found["records"])), owed)

    def _record(self, found: dict[str, Any]) -> "ConsumerRecord[Any, Any]":
        """A record made again stands nowhere on the topic: its place is -1."""
        headers = tuple((name, text.encode()) for name, text in found["headers"].items())
        key, value = found["headers"]["ce_subject"].encode(), base64.b64decode(found["value"])
        return ConsumerRecord(self._topic, -1, -1, 0, 0, key, value, None, len(key), len(value), headers)

    async def _ask(self, method: str, path: str, **sent: Any) -> Any:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with self._session.request(
                method, self._url + path, headers=self._headers, timeout=timeout, allow_redirects=False, **sent
            ) as answer:
                if answer.status != 200:
                    raise LedgerError(f"status_{answer.status}")
                return orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            raise LedgerError("unreachable") from error


def _owed(found: dict[str, Any]) -> Owed:
    return Owed(found["change_id"], found["seq"], datetime.fromisoformat(found["at"]))

"""The keys of arriving records, from the consent service. None is kept here: a record is opened once.

A key that was shredded is an answer for ever; anything else the service says or does not say is asked again.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal

import aiohttp
import orjson

from schemas.errors import CodecError
from schemas.jwe import unb64url

KIDS_MAX: Final = 1000
TIMEOUT_S: Final = 10.0
Found = bytes | Literal["key_destroyed", "key_unknown"]


class KeyServiceError(Exception):
    """The key service did not answer as agreed; what it said is in no error. Try again."""


class RecordKeys:
    """Looks keys up by kid: POST {url}/v1/keys with the retention process's bearer token."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._url = url.rstrip("/") + "/v1/keys"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    async def find(self, kids: Iterable[str]) -> dict[str, Found]:
        """Return for each kid its 32-byte key, or why there is none for ever; raise KeyServiceError."""
        wanted = list(dict.fromkeys(kids))
        found: dict[str, Found] = {}
        for start in range(0, len(wanted), KIDS_MAX):
            found |= _parsed(await self._ask(wanted[start : start + KIDS_MAX]))
        if not found.keys() >= set(wanted):
            raise KeyServiceError
        return found

    async def _ask(self, kids: list[str]) -> Any:
        body, timeout = orjson.dumps({"kids": kids}), aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with self._session.post(
                self._url, data=body, headers=self._headers, timeout=timeout, allow_redirects=False
            ) as answer:
                content = await answer.read() if answer.status == 200 else b""
            return orjson.loads(content)
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError):
            raise KeyServiceError from None


def _parsed(answer: Any) -> dict[str, Found]:
    try:
        found: dict[str, Found] = {jwk["kid"]: unb64url(jwk["k"].encode("ascii")) for jwk in answer["keys"]}
        for one in answer["missing"]:
            found[one["kid"]] = "key_destroyed" if one["code"] == "key_destroyed" else "key_unknown"
    except (KeyError, TypeError, AttributeError, UnicodeEncodeError, CodecError):
        raise KeyServiceError from None
    return found

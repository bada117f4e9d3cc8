"""Content keys of this affiliate's records, from the consent service; kept for less than the five minutes allowed."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal

import aiohttp
import orjson

from schemas.errors import CodecError
from schemas.jwe import KEY_BYTES, unb64url
from services.keyring.cache import KeyCache

KIDS_MAX: Final = 1000
"""What one request may ask for."""
CACHE_TTL_S: Final = 240.0
CACHE_MAX: Final = 10_000
TIMEOUT_S: Final = 10.0

Missing = Literal["key_destroyed", "key_unknown"]
Found = bytes | Missing
_MISSING: Final[dict[object, Missing]] = {"key_destroyed": "key_destroyed", "key_unknown": "key_unknown"}


class KeyServiceError(Exception):
    """The key service did not answer as agreed: unreachable, not 200, or nonsense. Try again; `code` says which."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ContentKeys:
    """Looks keys up by kid: POST {url}/v1/keys with the affiliate's bearer token."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        token: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._url = url.rstrip("/") + "/v1/keys"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._cache = KeyCache(ttl_s=CACHE_TTL_S, size_max=CACHE_MAX, monotonic=monotonic)

    async def find(self, kids: Iterable[str]) -> dict[str, Found]:
        """Return for each kid its 32-byte key, or why there is none for ever; raise KeyServiceError."""
        found: dict[str, Found] = {}
        unknown = []
        for kid in dict.fromkeys(kids):
            key = self._cache.get(kid)
            if key is None:
                unknown.append(kid)
            else:
                found[kid] = key
        for start in range(0, len(unknown), KIDS_MAX):
            found |= await self._ask(unknown[start : start + KIDS_MAX])
        return found

    async def _ask(self, kids: Sequence[str]) -> dict[str, Found]:
        answer = await self._post(orjson.dumps({"kids": kids}))
        found = _parsed(answer)
        if not found.keys() >= set(kids):
            raise KeyServiceError("answer_incomplete")
        for kid in kids:
            key = found[kid]
            if isinstance(key, bytes):
                self._cache.put(kid, key, self._cache.generation)
        return found

    async def _post(self, body: bytes) -> Any:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with self._session.post(
                self._url, data=body, headers=self._headers, timeout=timeout, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    raise KeyServiceError(f"status_{answer.status}")
                return orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise KeyServiceError("unreachable") from error
        except orjson.JSONDecodeError:
            pass
        raise KeyServiceError("answer_malformed")


def _parsed(answer: Any) -> dict[str, Found]:
    """Return the keys and the missing ones of an answer; its content is in no error."""
    try:
        keys: dict[str, Found] = {jwk["kid"]: _key(jwk["k"]) for jwk in answer["keys"]}
        missing: dict[str, Found] = {m["kid"]: _MISSING[m["code"]] for m in answer["missing"]}
    except (KeyError, TypeError, AttributeError, UnicodeEncodeError, CodecError):
        pass
    else:
        return keys | missing
    raise KeyServiceError("answer_malformed")


def _key(text: str) -> bytes:
    key = unb64url(text.encode("ascii"))
    if len(key) != KEY_BYTES:
        raise KeyServiceError("answer_malformed")
    return key

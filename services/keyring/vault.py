"""The KEK in HashiCorp Vault's Transit engine (HTTP API v1): the key never leaves Vault, only data keys travel.

The key must be `derived`: each data key is wrapped under a key derived from its `aad` (Vault's `context`), so that a
wrapped key moved to another member does not open. Transit's `associated_data` would bind as well, but its rewrap
endpoint does not take it. A key that is not derived ignores the context without a word, so `open_vault` refuses one.
"""

import re
import ssl
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp

from services.keyring.kek import KEY_BYTES, KekError, KekUnavailableError, read_private

TIMEOUT_S: Final = 5.0
TOKEN_BYTES_MAX: Final = 4096
BUSY: Final = frozenset({408, 412, 429})
"""Beside 5xx: Vault says by these that another attempt may succeed (412: a replica that is behind)."""
AEAD: Final = frozenset({"aes128-gcm96", "aes256-gcm96", "chacha20-poly1305"})
_CIPHERTEXT: Final = re.compile(rb"vault:v([0-9]+):[A-Za-z0-9+/=]+")


class VaultTransitKek:
    """Wraps by one version of one Transit key, the newest when it was opened; unwraps by any version Vault keeps."""

    def __init__(self, session: aiohttp.ClientSession, url: str, mount: str, key: str, token_file: Path) -> None:
        """Take what `open_vault` has checked; call `look` before anything else."""
        self._session = session
        self._base = f"{url.rstrip('/')}/v1/{quote(mount)}"
        self._key = key
        self._name = f"vault:{mount}/{key}"
        self._token_file = token_file
        self._version = 0

    @property
    def key_id(self) -> str:
        """Return `vault:<mount>/<key>:v<version>`."""
        return f"{self._name}:v{self._version}"

    async def look(self) -> None:
        """Learn the key's newest version; raise KekError(kek_setup) for a key that would not bind data keys."""
        found = await self._ask("GET", "keys")
        try:
            version, derived, kind = int(found["latest_version"]), found["derived"], found["type"]
        except (KeyError, TypeError, ValueError) as error:
            raise KekUnavailableError("kek_unreachable") from error
        if derived is not True or kind not in AEAD:
            raise KekError("kek_setup")
        self._version = version

    async def wrap(self, plain: bytes, aad: bytes) -> bytes:
        """Return Vault's ciphertext as ASCII; raise KekError."""
        asked = {"plaintext": _b64(plain), "context": _b64(aad), "key_version": self._version}
        return _ciphertext(await self._ask("POST", "encrypt", asked))

    async def unwrap(self, wrapped: bytes, aad: bytes, key_id: str) -> bytes:
        """Return the key again; raise KekError."""
        found = await self._ask("POST", "decrypt", self._wrapped(wrapped, aad, key_id))
        try:
            key = b64decode(found["plaintext"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise KekError("kek_mismatch") from None
        if len(key) != KEY_BYTES:
            raise KekError("kek_mismatch")
        return key

    async def rewrap(self, wrapped: bytes, aad: bytes, key_id: str) -> bytes:
        """Let Vault wrap it by the present version without showing the key to anyone; raise KekError."""
        asked = self._wrapped(wrapped, aad, key_id) | {"key_version": self._version}
        return _ciphertext(await self._ask("POST", "rewrap", asked))

    def _wrapped(self, wrapped: bytes, aad: bytes, key_id: str) -> dict[str, Any]:
        if key_id.rpartition(":v")[0] != self._name:
            raise KekError("kek_other")
        found = _CIPHERTEXT.fullmatch(wrapped)
        if found is None or key_id != f"{self._name}:v{int(found[1])}":
            raise KekError("kek_mismatch")
        return {"ciphertext": wrapped.decode(), "context": _b64(aad)}

    async def _ask(self, method: str, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the `data` of an answer. Vault's own error texts stay out: they may repeat what was sent."""
        token = read_private(self._token_file, TOKEN_BYTES_MAX).strip().decode("ascii", "replace")
        headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
        url = f"{self._base}/{verb}/{quote(self._key, safe='')}"
        try:
            async with self._session.request(method, url, json=body, headers=headers, allow_redirects=False) as answer:
                _check(answer.status)
                found = (await answer.json())["data"]
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            raise KekUnavailableError("kek_unreachable") from error
        if not isinstance(found, dict):
            raise KekUnavailableError("kek_unreachable")
        return found


@asynccontextmanager
async def open_vault(
    url: str, *, mount: str, key: str, token_file: Path, ca_file: Path | None = None
) -> AsyncIterator[VaultTransitKek]:
    """Yield the KEK of a Transit key; raise KekError (kek_setup: no TLS to another machine, or not a derived key).

    The token file is read at each request: whoever renews it (Vault Agent) needs to tell nobody.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        raise KekError("kek_setup")
    try:
        tls = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise KekError("kek_setup") from error
    connector = aiohttp.TCPConnector(ssl=tls)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        kek = VaultTransitKek(session, url, mount, key, token_file)
        await kek.look()
        yield kek


def _check(status: int) -> None:
    if status == 200:
        return
    if status in {401, 403}:
        raise KekUnavailableError("kek_forbidden")
    if status in BUSY or status >= 500 or status < 400:
        raise KekUnavailableError("kek_unreachable")
    raise KekError("kek_setup" if status == 404 else "kek_mismatch")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _ciphertext(found: dict[str, Any]) -> bytes:
    text = found.get("ciphertext")
    if not isinstance(text, str) or _CIPHERTEXT.fullmatch(text.encode()) is None:
        raise KekUnavailableError("kek_unreachable")
    return text.encode()


def _b64(raw: bytes) -> str:
    return b64encode(raw).decode()

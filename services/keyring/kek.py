"""The key-encryption key that wraps every member's data key: a port, its file implementation, and several in one.

Asynchronous because the other implementation is a key service on the network (vault.py).
"""

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
IV_BYTES: Final = 12
PRIVATE_MODE: Final = 0o600


class KekError(Exception):
    """The KEK can't be used; every key it wraps is out of reach until an operator mends it.

    `code`: kek_unreadable, kek_exposed (others may read the file: chmod 600), kek_malformed (not
    32 bytes), kek_other (the key was wrapped by another KEK), kek_mismatch (wrapped for another
    member, or altered), kek_setup (the settings or the key service's key are not what they must be).
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class KekUnavailableError(KekError, OSError):
    """The key service can't be asked for now: nothing can be wrapped or unwrapped, so nothing is written (503).

    `code`: kek_unreachable (no answer, sealed, too busy) or kek_forbidden (our token is not accepted). An OSError like
    that of every server that is away, so that whoever waits for a database waits for this too.
    """


class KekProvider(Protocol):
    """Wraps and unwraps 32-byte data keys; `aad` is authenticated: give the same both times."""

    @property
    def key_id(self) -> str:
        """Name the KEK that wraps now; stored beside what it wrapped."""
        ...

    async def wrap(self, plain: bytes, aad: bytes) -> bytes:
        """Return the wrapped key."""
        ...

    async def unwrap(self, wrapped: bytes, aad: bytes, key_id: str) -> bytes:
        """Return the key again; raise KekError."""
        ...

    async def rewrap(self, wrapped: bytes, aad: bytes, key_id: str) -> bytes:
        """Return what `key_id` wrapped, wrapped by the KEK that wraps now; raise KekError."""
        ...


class FileKek:
    """A 32-byte key in a file that only its owner may read; AES-256-GCM, a random iv per key."""

    def __init__(self, path: Path) -> None:
        """Read the file; raise KekError."""
        key = _read_key(path)
        self._cipher = AESGCM(key)
        self._key_id = "file:" + hashlib.sha256(b"dongui/kek-id/v1" + key).hexdigest()[:16]

    @property
    def key_id(self) -> str:
        """Return `file:` and a fingerprint, which says nothing about the key."""
        return self._key_id

    async def wrap(self, plain: bytes, aad: bytes) -> bytes:
        """Return iv, cipher text and tag in one."""
        iv = os.urandom(IV_BYTES)
        return iv + self._cipher.encrypt(iv, plain, aad)

    async def unwrap(self, wrapped: bytes, aad: bytes, key_id: str) -> bytes:
        """Return the key again; raise KekError(kek_other or kek_mismatch)."""
        if key_id != self._key_id:
            raise KekError("kek_other")
        try:
            return self._cipher.decrypt(wrapped[:IV_BYTES], wrapped[IV_BYTES:], aad)
        except (InvalidTag, ValueError) as error:
            raise KekError("kek_mismatch") from error

    async def rewrap(self, wrapped: bytes, aad: bytes, key_id: str) -> bytes:
        """Return it under a fresh iv; raise KekError."""
        return await self.wrap(await self.unwrap(wrapped, aad, key_id), aad)


class Keks:
    """The KEK that wraps now, and earlier ones that still unwrap: what a rotation needs while it runs."""

    def __init__(self, current: KekProvider, earlier: Sequence[KekProvider] = ()) -> None:
        self._current = current
        self._earlier = earlier

    @property
    def key_id(self) -> str:
        """Name the KEK that wraps now."""
        return self._current.key_id

    async def wrap(self, plain: bytes, aad: bytes) -> bytes:
        """Wrap by the present KEK."""
        return await self._current.wrap(plain, aad)

    async def unwrap(self, wrapped: bytes, aad: bytes, key_id: str) -> bytes:
        """Unwrap by the KEK of that name; raise KekError, kek_other when none of ours has it."""
        for kek in self._earlier:
            if kek.key_id == key_id:
                return await kek.unwrap(wrapped, aad, key_id)
        return await self._current.unwrap(wrapped, aad, key_id)

    async def rewrap(self, wrapped: bytes, aad: bytes, key_id: str) -> bytes:
        """Let the present KEK do it when the key is its own (a key service never shows it then)."""
        if any(kek.key_id == key_id for kek in self._earlier):
            return await self.wrap(await self.unwrap(wrapped, aad, key_id), aad)
        return await self._current.rewrap(wrapped, aad, key_id)


def generate(path: Path) -> None:
    """Write a new random KEK to a new file, readable by its owner only; never over an old one.

    Raises FileExistsError: to overwrite a KEK is to shred every member.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.urandom(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())


def read_private(path: Path, bytes_max: int) -> bytes:
    """Return the first `bytes_max` bytes of a file that nobody but its owner may touch; raise KekError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(bytes_max)
    except OSError as error:
        raise KekError("kek_unreadable") from error
    if not stat.S_ISREG(mode) or mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KekError("kek_exposed")
    return content


def _read_key(path: Path) -> bytes:
    key = read_private(path, KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise KekError("kek_malformed")
    return key

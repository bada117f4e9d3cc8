"""Ed25519 seeds in files: 32 raw bytes, or the same in base64 on one line."""

import base64
import binascii
from pathlib import Path

SEED_BYTES = 32


class SeedError(Exception):
    """The file does not hold a 32-byte Ed25519 seed (raw, or base64 on one line)."""


def seed_of(path: Path) -> bytes:
    """Return the seed in a key file; raise OSError, or SeedError when it holds none."""
    content = path.read_bytes()
    if len(content) == SEED_BYTES:
        return content
    try:
        seed = base64.b64decode(content.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SeedError(path.name) from error
    if len(seed) != SEED_BYTES:
        raise SeedError(path.name)
    return seed

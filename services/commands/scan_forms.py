"""Pure: every way in which a value may lie in a file, and finding any of them in a stream of bytes.

A value survives as it was typed, in capitals, composed or decomposed, as UTF-16, in a URL, in JSON escapes, in base64
(at any of three alignments) and as the hex that PostgreSQL shows of a bytea.
"""

import json
import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

BYTES_MIN: Final = 5
"""A shorter value would be found by chance."""
_ALIGNMENTS: Final = 3


class TooShortError(ValueError):
    """A value that is found everywhere by chance."""


def forms(value: str) -> set[bytes]:
    """Return the byte strings to look for, in lower case; raise TooShortError."""
    found: set[bytes] = set()
    typed = value.strip()
    for text in {typed, *(unicodedata.normalize(form, typed) for form in ("NFC", "NFD"))}:
        raw = text.encode()
        if len(raw) < BYTES_MIN:
            raise TooShortError
        found |= {raw, *(text.encode(name).strip(b"\0") for name in ("utf-16-le", "utf-16-be"))}
        found |= {json.dumps(text)[1:-1].encode(), quote(text).encode(), quote(text, safe="").encode()}
        found |= {quote(text.encode("utf-16-le")).encode(), raw.hex().encode(), *_base64(raw)}
    return {form.lower() for form in found}


def _base64(raw: bytes) -> Iterator[bytes]:
    """Yield what of the base64 of `...raw...` does not depend on what stands around it, in both alphabets."""
    for before in range(_ALIGNMENTS):
        encoded = b64encode(bytes(before) + raw)
        first = -(-before * 8 // 6)
        inner = encoded[first : (before + len(raw)) * 8 // 6]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


class Finder:
    """Counts occurrences of any value in streams; says how many, never which or where in the line."""

    def __init__(self, values: Iterable[str]) -> None:
        """Raise TooShortError, or ValueError when there is nothing to look for."""
        needles = sorted({form for value in values for form in forms(value)})
        if not needles:
            raise ValueError("no values to look for")
        self._overlap = max(map(len, needles)) - 1
        self._pattern = re.compile(_trie(needles))

    def count(self, chunks: Iterable[bytes]) -> int:
        """Return the number of hits in what the chunks make together, whatever is cut where."""
        stream = self.stream()
        return sum(stream.feed(chunk) for chunk in chunks)

    def stream(self) -> "Stream":
        """Return a counter that is fed piece by piece."""
        return Stream(self._pattern, self._overlap)


class Stream:
    """One stream: keeps as much of its end as a value cut in two could need."""

    def __init__(self, pattern: "re.Pattern[bytes]", overlap: int) -> None:
        self._pattern = pattern
        self._overlap = overlap
        self._tail = b""

    def feed(self, chunk: bytes) -> int:
        """Return how many hits end in this chunk."""
        if chunk.count(0) == len(chunk) > self._overlap:  # files are made long before they are filled
            self._tail = b""
            return 0
        text = self._tail + chunk.lower()
        done, hits = 0, 0
        for match in self._pattern.finditer(text):
            hits, done = hits + 1, match.end()
        self._tail = text[max(done, len(text) - self._overlap) :]
        return hits


def _trie(needles: list[bytes]) -> bytes:
    """Return one expression for sorted needles, with common beginnings written once: the engine tries each once."""
    groups: dict[int, list[bytes]] = {}
    for needle in needles:
        if not needle:
            return b""  # a shorter needle ends here: whatever goes on is a hit already
        groups.setdefault(needle[0], []).append(needle[1:])
    parts = [re.escape(bytes([first])) + _trie(rest) for first, rest in groups.items()]
    return parts[0] if len(parts) == 1 else b"(?:" + b"|".join(parts) + b")"

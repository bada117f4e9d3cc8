"""RFC 3161: a time-stamping authority as one more place. Needs the extra `timestamp`; only loaded when configured.

What is stamped is the text of a checkpoint (its three lines, without signatures); the answer is kept as `<size>.tsr`
beside the note, and `openssl ts -verify` reads it. One stamp in `interval_s` is enough: it covers all leaves before.
"""

import asyncio
import time
from pathlib import Path

import httpx
from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from services.audit.checkpoint import text_part
from services.audit.places import Offer, PlaceError, asked, write_once

QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"


class Timestamp:
    """A time-stamping authority whose chain must end in one of these roots."""

    name = "timestamp"

    def __init__(
        self, url: str, roots: list[x509.Certificate], folder: Path, client: httpx.AsyncClient, interval_s: float
    ) -> None:
        self._url = url
        self._verifier = VerifierBuilder(roots=roots).build()
        self._folder = folder
        self._client = client
        self._interval_s = interval_s
        self._next = float("-inf")

    @classmethod
    def of_file(cls, url: str, path: Path, folder: Path, client: httpx.AsyncClient, interval_s: float) -> "Timestamp":
        """Read the roots from a PEM file; raise OSError, ValueError."""
        roots = x509.load_pem_x509_certificates(path.read_bytes())
        return cls(url, roots, folder, client, interval_s)

    async def put(self, offer: Offer) -> str | None:
        """Have the checkpoint stamped and keep the answer; None when the last stamp is young enough."""
        if time.monotonic() < self._next:
            return None
        text = text_part(offer.note).encode()
        answer = await self._asked(text)
        try:
            self._verifier.verify_message(decode_timestamp_response(answer), text)
        except (VerificationError, ValueError) as error:
            raise PlaceError("bad_timestamp") from error
        await asyncio.to_thread(write_once, self._folder / f"{offer.size}.tsr", answer)
        self._next = time.monotonic() + self._interval_s
        return ""

    async def _asked(self, text: bytes) -> bytes:
        # No nonce: an older stamp of the same text would only prove more.
        builder = TimestampRequestBuilder(data=text, hash_algorithm=HashAlgorithm.SHA256, nonce=False)
        headers = {"Content-Type": QUERY, "Accept": REPLY}
        answer = await asked(self._client, self._url, builder.build().as_bytes(), headers)
        if answer.status != 200:
            raise PlaceError(f"status {answer.status}")
        return answer.body

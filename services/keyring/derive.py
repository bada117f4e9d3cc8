"""Pure: every key and keyed digest that comes from a member's data key, and the e-mail index.

What is derived dies with the data key: shred it, and contents and commitments go silent.
"""

import hashlib
import hmac
import unicodedata
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import cached_property
from typing import Final
from uuid import UUID, uuid5

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.jwe import KID

KEY_BYTES: Final = 32
_CONTENT_INFO: Final = b"dongui/content/v1/"
_COMMITMENT_INFO: Final = b"dongui/commitment/v1"
_OPT_OUT_INFO: Final = b"dongui/opt-out/v1"


def format_kid(recipient: str, member_ref: str, epoch: int) -> str:
    """Return `<recipient>.<member_ref>.<epoch>`; raise ValueError when that would not parse."""
    kid = f"{recipient}.{member_ref}.{epoch}"
    parse_kid(kid)
    return kid


def parse_kid(kid: str) -> tuple[str, str, int]:
    """Return (recipient, member_ref, grant epoch from 1); raise ValueError, without the value."""
    found = KID.fullmatch(kid)
    if found is None:
        raise ValueError("not a key id")
    return found["recipient"], found["member"], int(found["epoch"])


def handover_ref(member_ref: str) -> str:
    """Return the reference of the key under which a member's statutory records wait and travel (docs/retention.md).

    A key apart from the member's own, so that the one can be destroyed in time while the other's records are owed.
    """
    return str(uuid5(UUID(member_ref), "dongui/statutory-records"))


def content_key(data_key: bytes, kid: str) -> bytes:
    """Return the 32-byte key of one recipient and grant epoch; raise ValueError for a bad kid."""
    parse_kid(kid)
    return _expand(data_key, _CONTENT_INFO + kid.encode())


class MemberKeys:
    """What comes from one member's data key while a change is made: the commitments' key is derived once."""

    def __init__(self, data_key: bytes) -> None:
        self._data_key = data_key
        self._committed: dict[tuple[str, str], str] = {}

    def content_key(self, kid: str) -> bytes:
        """Return what the function of this name does."""
        return content_key(self._data_key, kid)

    def commitments(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return, by item, base64url(HMAC-SHA256) of its value: equal values of one member look equal.

        Keyed, because an e-mail address or a name could be guessed from a plain hash. A value that several recipients
        are given is committed once; of no values no key is asked for.
        """
        for item, value in values.items() - self._committed.keys():
            self._committed[item, value] = _b64url(
                hmac.digest(self._key, f"{item}\x00{value}".encode(), hashlib.sha256)
            )
        return {item: self._committed[item, value] for item, value in values.items()}

    @cached_property
    def _key(self) -> bytes:
        return _expand(self._data_key, _COMMITMENT_INFO)


def jwk(key: bytes, kid: str) -> dict[str, str]:
    """Return a content key as a JWK (RFC 7517), as the key service hands it out."""
    return {"kty": "oct", "kid": kid, "k": _b64url(key), "alg": "A256GCM"}


def email_index(index_key: bytes, email: str) -> bytes:
    """Return the 32-byte HMAC by which an e-mail is unique; its key is not a member's.

    Spellings that mean one mailbox to a person are one: surrounding space, case, Unicode form.
    """
    folded = unicodedata.normalize("NFC", email).strip().casefold()
    return hmac.digest(index_key, unicodedata.normalize("NFC", folded).encode(), hashlib.sha256)


def opt_out_key(index_key: bytes) -> bytes:
    """Return the 32-byte key of opt-out links: of the service's own key, so that a link needs no member's key."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=b"", info=_OPT_OUT_INFO).derive(index_key)


def _expand(data_key: bytes, info: bytes) -> bytes:
    if len(data_key) != KEY_BYTES:
        raise ValueError("a data key is 32 bytes")
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=b"", info=info).derive(data_key)


def _b64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()

"""The requests that list and make Kafka's SCRAM users; aiokafka has none for it (KIP-554, version 0 of each).

What goes over the wire is the salted password of RFC 5802, never the password.
"""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, Final

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

SHA_512: Final = 2
ITERATIONS, SALT_BYTES = 8192, 24
_TAGS = ("tags", TaggedFields)
_RESULT = (("user", CompactString("utf-8")), ("error_code", Int16), ("error_message", CompactString("utf-8")))


class _DescribeResponse(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 50, 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", CompactString("utf-8")),
        (
            "results",
            CompactArray(*_RESULT, ("infos", CompactArray(("mechanism", Int8), ("iterations", Int32), _TAGS)), _TAGS),
        ),
        _TAGS,
    )


class _DescribeStruct(RequestStruct):  # type: ignore[misc]
    API_KEY, API_VERSION, FLEXIBLE_VERSION = 50, 0, True
    RESPONSE_TYPE = _DescribeResponse
    SCHEMA = Schema(("users", CompactArray(("name", CompactString("utf-8")), _TAGS)), _TAGS)


class Describe(Request[_DescribeStruct]):  # type: ignore[misc]
    """Ask for every user; the answer's `results` are (user, error code, message, infos, tags)."""

    API_KEY = 50

    def build(self, struct: Any) -> Any:
        """Return what goes over the wire."""
        return struct(None, {})


class _AlterResponse(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 51, 0
    SCHEMA = Schema(("throttle_time_ms", Int32), ("results", CompactArray(*_RESULT, _TAGS)), _TAGS)


class _AlterStruct(RequestStruct):  # type: ignore[misc]
    API_KEY, API_VERSION, FLEXIBLE_VERSION = 51, 0, True
    RESPONSE_TYPE = _AlterResponse
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), _TAGS)),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class Alter(Request[_AlterStruct]):  # type: ignore[misc]
    """Make users, or set their passwords: `{name: password}`; `results` are (user, error code, message, tags)."""

    API_KEY = 51

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users

    def build(self, struct: Any) -> Any:
        """Return what goes over the wire."""
        return struct([], [credential(name, password) for name, password in self._users.items()], {})


def credential(name: str, password: str) -> tuple[str, int, int, bytes, bytes, dict[int, bytes]]:
    """Return what the broker keeps instead of the password: Hi(password, salt, iterations) of RFC 5802."""
    salt = secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return (name, SHA_512, ITERATIONS, salt, salted, {})

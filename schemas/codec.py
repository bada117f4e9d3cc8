"""Shapes to bytes and back. What is not of this version of the contract is refused with a code.

Clear records are JSON; sealed ones are a compact JWE of that JSON. Both ways the body is held
against its envelope: no consumer ever meets a record whose headers and content disagree.
"""

import re
from typing import Any, Final, TypeVar, cast

from pydantic import ValidationError

from schemas import jwe
from schemas.base import Shape
from schemas.envelope import SEQUENCE_MAX, Envelope
from schemas.errors import Code, CodecError
from schemas.events import Fact, Notice, Projection, StatutoryRecord, Stop, event_type
from schemas.receipts import Receipt, RegisterEntry
from schemas.registry import (
    CLEAR,
    JOSE,
    JSON,
    KNOWN_TYPES,
    SEALED,
    TYPES,
    ClearShape,
    SealedShape,
)

S = TypeVar("S", bound=Shape)

RETENTION_PARTY: Final = "retention"
"""Takes the recipient's place in the key id of a statutory record and in its receipt."""
SIZE_MAX: Final = 1024 * 1024
"""Bytes of one record's value: far above any member, and the most we are ready to parse."""
_NUL: Final = b"\\u0000"
_NUL_ESCAPED: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""Behind an even number of backslashes it is the escape; behind an odd one a text that speaks of it."""
_SEQUENCED: Final = frozenset({Fact, Stop, Projection, Notice, Receipt, StatutoryRecord})


def is_sealed(env: Envelope) -> bool:
    """Whether the value needs a key; False for an unknown schema: `decode_clear` refuses it."""
    return env.dataschema in SEALED


def encode_clear(shape: ClearShape, env: Envelope) -> bytes:
    """Return the JSON bytes; raise CodecError when the shape does not fit its envelope."""
    _check_envelope(env, type(shape), JSON)
    _check_body(env, shape)
    return _to_json(shape)


def decode_clear(env: Envelope, value: bytes | None) -> ClearShape:
    """Return the shape that the envelope's schema names; raise CodecError."""
    shape_type = CLEAR.get(env.dataschema)
    if shape_type is None:
        raise CodecError("header_mismatch" if is_sealed(env) else "unknown_schema")
    _check_envelope(env, shape_type, JSON)
    shape = _from_json(shape_type, _bounded(value))
    _check_body(env, shape)
    return shape


def seal(shape: SealedShape, *, key: bytes, kid: str, topic: str) -> bytes:
    """Return the JWE of a shape for the recipient of `kid`, bound to a logical topic (no prefix).

    `key` is 32 bytes. Raises CodecError for the kid of another member or another recipient.
    """
    _check_kid(kid, shape)
    header = jwe.ProtectedHeader(kid, topic, shape.member_ref, shape.seq)
    return _bounded(jwe.encrypt(header, _to_json(shape), key))


def kid_of(value: bytes | None) -> str:
    """Return the key id a sealed value asks for, before any key is at hand; raise CodecError."""
    return parse(value).header.kid


def parse(value: bytes | None) -> jwe.Token:
    """Take a sealed value apart, once, for its key id now and for `unseal` later; raise CodecError."""
    token = jwe.parse(_bounded(value))
    if not jwe.KID.fullmatch(token.header.kid):
        raise CodecError("bad_jwe")
    return token


def unseal(env: Envelope, value: bytes | jwe.Token | None, *, key: bytes, topic: str) -> SealedShape:
    """Return the shape sealed for this topic, member and sequence; raise CodecError."""
    shape_type = SEALED.get(env.dataschema)
    if shape_type is None:
        raise CodecError("header_mismatch" if env.dataschema in CLEAR else "unknown_schema")
    _check_envelope(env, shape_type, JOSE)
    token = value if isinstance(value, jwe.Token) else jwe.parse(_bounded(value))
    plain, header = token.open(key), token.header
    if (header.topic, header.member, header.seq) != (topic, env.subject, env.sequence):
        raise CodecError("header_mismatch")
    shape = _from_json(shape_type, plain)
    _check_body(env, shape)
    _check_kid(header.kid, shape)
    return shape


def _check_envelope(env: Envelope, shape_type: type[Shape], content_type: str) -> None:
    if env.type not in KNOWN_TYPES:
        raise CodecError("unknown_type")
    named = CLEAR.get(env.dataschema) or SEALED.get(env.dataschema)
    fits = named is shape_type and env.type in TYPES[shape_type] and env.content_type == content_type
    if not fits:
        raise CodecError("header_mismatch")


def _check_body(env: Envelope, shape: ClearShape | SealedShape) -> None:
    """Hold the body against its envelope: who, which sequence, after which, what happened.

    By exact type: asking pydantic's metaclass for each of nine shapes costs more than parsing the value.
    """
    kind, told = type(shape), cast("Any", shape)
    same = (told.key if kind is RegisterEntry else told.member_ref) == env.subject
    if kind in _SEQUENCED:
        same = same and told.seq == env.sequence
    if kind is StatutoryRecord:
        same = same and told.record_id == env.id
    elif kind is Stop or kind is Projection:
        same = same and told.prev == env.previous
    elif kind is Fact:
        same = same and told.seq - 1 == env.previous and event_type(told.change) == env.type
    if env.change_id is not None:
        same = same and getattr(shape, "change_id", None) == env.change_id
    if not same:
        raise CodecError("header_mismatch")


def _check_kid(kid: str, shape: SealedShape) -> None:
    """The key must be this member's; a notice's its recipient's, a statutory record's the retention database's."""
    found = jwe.KID.fullmatch(kid)
    if found is None or found["member"] != shape.member_ref:
        raise CodecError("header_mismatch")
    if type(shape) is Notice and found["recipient"] != shape.recipient:
        raise CodecError("header_mismatch")
    if (type(shape) is StatutoryRecord) != (found["recipient"] == RETENTION_PARTY):
        raise CodecError("header_mismatch")


def _to_json(shape: Shape) -> bytes:
    return _storable(_bounded(shape.model_dump_json().encode()))


def _from_json(shape_type: type[S], value: bytes) -> S:
    """Parse strictly: no text for a number. The parser's error quotes values: it is dropped."""
    code: Code
    try:
        shape = shape_type.model_validate_json(_storable(value), strict=True)
    except ValidationError as error:
        code = _code_of(error)
    else:
        if isinstance(shape, Receipt) and not 0 <= (shape.leaf_index or 0) <= SEQUENCE_MAX:
            raise CodecError("invalid_field")
        return shape
    raise CodecError(code)


def _code_of(error: ValidationError) -> Code:
    found = {str(e["type"]) for e in error.errors(include_url=False, include_context=False, include_input=False)}
    if "json_invalid" in found:
        return "bad_json"
    return "unknown_field" if "extra_forbidden" in found else "invalid_field"


def _bounded(value: bytes | None) -> bytes:
    if value is None:
        raise CodecError("null_value")
    if len(value) > SIZE_MAX:
        raise CodecError("too_large")
    return value


def _storable(value: bytes) -> bytes:
    """PostgreSQL text cannot hold NUL: such a record would stop its consumer for ever."""
    if _NUL in value and _NUL_ESCAPED.search(value):
        raise CodecError("invalid_field")
    return value


__all__ = [
    "RETENTION_PARTY",
    "SIZE_MAX",
    "ClearShape",
    "CodecError",
    "SealedShape",
    "decode_clear",
    "encode_clear",
    "is_sealed",
    "kid_of",
    "parse",
    "seal",
    "unseal",
]

"""RFC 8785 JSON. What our records are made of, orjson writes the same way and many times as fast as `rfc8785`."""

import contextlib
from typing import Any, Final

import orjson
import rfc8785

INTEGER_MAX: Final = 2**53 - 1


def dumps(value: Any) -> bytes:
    """Return canonical JSON; raise rfc8785.CanonicalizationError for what has none.

    The two agree but for floats, large integers, text that is no Unicode, and the order of keys beyond ASCII.
    """
    if _agreed(value):
        with contextlib.suppress(orjson.JSONEncodeError):  # text that is no Unicode: the library says so its own way
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return rfc8785.dumps(value)


def _agreed(value: Any) -> bool:
    """Whether both write it alike. Exact types: a subclass may be written as something else."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is dict:
        return all(type(key) is str and key.isascii() and _agreed(inner) for key, inner in value.items())
    if kind is list:
        return all(map(_agreed, value))
    if kind is int:
        return bool(-INTEGER_MAX <= value <= INTEGER_MAX)
    return False

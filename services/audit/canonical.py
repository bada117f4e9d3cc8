"""RFC 8785 JSON. What our records are made of, orjson writes the same way and many times as fast as `rfc8785`."""

import contextlib
from typing import Any, Final

import orjson
import rfc8785

INTEGER_MAX: Final = 2**53 - 1
_ALIKE: Final = frozenset({str, bool, type(None)})


def dumps(value: Any) -> bytes:
    """Return canonical JSON; raise rfc8785.CanonicalizationError for what has none.

    The two agree but for floats, large integers, text that is no Unicode, and the order of keys beyond ASCII.
    """
    if _agreed(value):
        with contextlib.suppress(orjson.JSONEncodeError):  # text that is no Unicode: the library says so its own way
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return rfc8785.dumps(value)


def _agreed(value: Any) -> bool:
    """Whether both write it alike. Exact types: a subclass may be written as something else.

    Values whose type says it are not looked at one by one: most are text.
    """
    found = [value]
    while found:
        value = found.pop()
        kind = type(value)
        if kind is dict and _agreed_keys(value):
            found += [inner for inner in value.values() if type(inner) not in _ALIKE]
        elif kind is list:
            found += [inner for inner in value if type(inner) not in _ALIKE]
        elif kind not in _ALIKE and not (kind is int and -INTEGER_MAX <= value <= INTEGER_MAX):
            return False
    return True


def _agreed_keys(value: dict[Any, Any]) -> bool:
    return {*map(type, value)} <= {str} and "".join(value).isascii()

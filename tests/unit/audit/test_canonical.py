"""Canonical JSON is the library's, whichever way it was written."""

import hashlib
import json
import uuid
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.audit import records
from services.audit import canonical
from services.audit.leaf import of_record

TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
NUMBERS = st.integers(-(2**60), 2**60) | st.floats()
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def written(dumps: Any, value: Any) -> bytes | str:
    try:
        return bytes(dumps(value))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        return type(error).__name__


@given(JSON)
def test_every_value_is_written_or_refused_as_the_library_does(value: Any) -> None:
    assert written(canonical.dumps, value) == written(rfc8785.dumps, value)


@pytest.mark.parametrize(
    "value",
    [
        {"\U0001f600": 1, "\ufb33": 2},  # UTF-16 and code points order these keys differently
        {"b": '\x7f\x1f\b\t\n\f\r"\\/é한\u2028', "a": [True, None, -0.0, 1e21, 2**53 - 1]},
        "\ud800",
        2**53,
        {"a": uuid.uuid4()},
    ],
)
def test_the_hard_cases_too(value: Any) -> None:
    assert written(canonical.dumps, value) == written(rfc8785.dumps, value)


def test_the_body_of_a_leaf_is_canonical() -> None:
    leaves = [of_record(record) for record in records(8)]
    assert [leaf.type for leaf in leaves if leaf] == (
        ["kr.dongui.member.corrected.v1"] + ["kr.dongui.receipt.v1"] * 3
    ) * 2
    for leaf in leaves:
        assert leaf is not None
        told = json.loads(leaf.body)
        assert rfc8785.dumps(told) == leaf.body
        said = rfc8785.dumps({"data": told["data"], "envelope": told["envelope"]})
        assert hashlib.sha256(said).digest() == leaf.content_hash

"""The scan finds a value in whatever form it was left, wherever it is cut, and tells nothing by chance."""

import base64
import codecs
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.commands.scan_forms import Finder, TooShortError, forms

VALUE = "카나리아-Qx7v@example.kr"
DECOMPOSED = "카나리아-Qx7v@example.kr"
PADDING = b"......................................................................"


LEFT = {
    "typed": VALUE.encode(),
    "capitals": VALUE.upper().encode(),
    "decomposed": DECOMPOSED.encode(),
    "utf-16-le": VALUE.encode("utf-16-le"),
    "utf-16-be": VALUE.encode("utf-16-be"),
    "json": json.dumps({"email": VALUE}).encode(),
    "url": urllib.parse.urlencode({"email": VALUE}).encode(),
    "url-lower": urllib.parse.quote(VALUE, safe="").lower().encode(),
    "hex": b"\\\\x" + codecs.encode(b'{"email": "' + VALUE.encode() + b'"}', "hex"),
    "base64url": base64.urlsafe_b64encode(b"12" + VALUE.encode() + b"345").rstrip(b"="),
    **{f"base64-{n}": base64.b64encode(b"x" * n + VALUE.encode() + b"yy") for n in range(4)},
}
"""The value as some program would have left it, by the standard library's own means."""


@pytest.mark.parametrize("form", LEFT)
def test_a_value_is_found_in_every_form(form: str) -> None:
    assert Finder([VALUE]).count([PADDING + LEFT[form] + PADDING]) == 1


@pytest.mark.parametrize("form", LEFT)
def test_a_value_that_is_cut_anywhere_is_found_once(form: str) -> None:
    text = PADDING[:9] + LEFT[form] + PADDING[:9]
    for size in (1, 2, 7, 16):
        assert Finder([VALUE]).count(text[i : i + size] for i in range(0, len(text), size)) == 1, size


def test_every_occurrence_counts_once() -> None:
    assert Finder([VALUE, "another value"]).count([f"{VALUE} {VALUE} another value".encode()]) == 3
    assert Finder(["abcdefgh", "abcdef"]).count([b"abcdefgh"]) == 1, "one place, though two values begin there"


@pytest.mark.parametrize("text", ["카나리아-Qx7v@example.k", "나리아-Qx7v@example.kr", "Qx7v", ""])
def test_a_part_of_a_value_is_no_hit(text: str) -> None:
    assert Finder([VALUE]).count([text.encode(), b"\0" * 4096, base64.b64encode(text.encode())]) == 0


def test_long_runs_of_nothing_hide_no_value() -> None:
    assert Finder([VALUE]).count([b"\0" * 4096, VALUE.encode(), b"\0" * 4096, VALUE.encode("utf-16-be")]) == 2


@pytest.mark.parametrize("value", ["", "abcd", " kim "])
def test_a_value_that_is_found_by_chance_is_refused(value: str) -> None:
    with pytest.raises(TooShortError):
        Finder([value])


def test_a_name_of_two_hangul_is_long_enough() -> None:
    assert Finder(["홍길"]).count(["성명: 홍길동".encode()]) == 1


def test_nothing_to_look_for_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        Finder([])


@given(
    value=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=6, max_size=24),
    before=st.binary(max_size=12),
    after=st.binary(max_size=12),
)
def test_base64_of_anything_around_a_value_holds_one_of_its_forms(value: str, before: bytes, after: bytes) -> None:
    left = base64.b64encode(before + value.encode() + after).lower()
    found = {form for form in forms(value) if form in left}
    assert found or len(value.encode()) < 5

"""Import files: the same member in NDJSON and in CSV is the same body; what is neither is told by its row."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.commands.import_reasons import reason_of
from services.commands.import_rows import ColumnsError, Line, batches, read_csv, read_ndjson


def from_ndjson(text: bytes) -> list[Line]:
    return list(read_ndjson(io.BytesIO(text)))


def from_csv(text: str | bytes) -> list[Line]:
    raw = text.encode() if isinstance(text, str) else text
    return list(read_csv(io.BytesIO(raw), lambda item: item == "friends"))


def test_each_line_is_a_row_by_its_number() -> None:
    assert from_ndjson(b'{"email":"a"}\n\n{"email":"b"}') == [Line(1, {"email": "a"}), Line(3, {"email": "b"})]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"{broken", "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b"[1]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"name":"' + b"x" * 70_000 + b'"}', "row_too_large"),
    ],
)
def test_a_line_that_is_no_row_is_told_and_the_next_one_is_read(text: bytes, code: str) -> None:
    assert from_ndjson(text + b'\n{"a":1}') == [Line(1, None, code), Line(2, {"a": 1})]


def test_a_byte_order_mark_is_no_part_of_the_first_row() -> None:
    assert from_ndjson(b'\xef\xbb\xbf{"a":1}') == [Line(1, {"a": 1})]
    assert from_csv(b"\xef\xbb\xbfemail\na@b") == [Line(1, {"email": "a@b"})]


def test_dotted_columns_become_the_body_of_a_sign_up() -> None:
    header = "email,name,consents.collection,consents.sharing,consents.marketing.use,profile.service,profile.role,"
    text = header + "profile.phone,profile.friends\r\nh@e.com,홍길동,true,N,1,wapl,member,010-1,가; 나;\r\n"
    wanted: dict[str, Any] = {
        "email": "h@e.com",
        "name": "홍길동",
        "consents": {"collection": True, "sharing": False, "marketing": {"use": True}},
        "profiles": [{"service": "wapl", "role": "member", "phone": "010-1", "friends": ["가", "나"]}],
    }
    assert from_csv(text) == [Line(1, wanted)]


def test_an_empty_cell_is_absent_and_never_a_yes() -> None:
    assert from_csv("email,consents.sharing,profile.service\na,,\n") == [Line(1, {"email": "a"})]


def test_sharing_may_have_a_column_for_each_affiliate() -> None:
    found = from_csv("consents.sharing.tmax-os,consents.sharing.tmax-anc\ntrue,false\n")
    assert found == [Line(1, {"consents": {"sharing": {"tmax-os": True, "tmax-anc": False}}})]


@pytest.mark.parametrize(
    ("header", "cells", "columns"),
    [
        ("email,consents.sharing.tmax-os,consents.sharing", "a,n,y", (2, 3)),
        ("email,consents.sharing,consents.sharing.tmax-os", "a,y,n", (2, 3)),
        ("consents.sharing,email,consents.sharing-x,consents.sharing.tmax-os", "y,a,,n", (1, 4)),
        ("consents.marketing.use,email, consents.marketing.use", "n,a,y", (1, 3)),
        ("email,consents,consents.marketing.use", "a,,y", (2, 3)),
        ("name,email,name", "a,a,b", (1, 3)),
    ],
)
def test_of_two_columns_for_one_field_none_is_believed(header: str, cells: str, columns: tuple[int, int]) -> None:
    with pytest.raises(ColumnsError, match=f"columns {columns[0]} and {columns[1]} "):
        from_csv(f"{header}\n{cells}\n")


def test_columns_without_a_name_are_no_field_and_hinder_nothing() -> None:
    assert from_csv("email,,\na,,\n") == [Line(1, {"email": "a"})]


def test_a_word_that_is_no_boolean_is_left_for_the_service_to_refuse() -> None:
    assert from_csv("consents.sharing\nmaybe\n") == [Line(1, {"consents": {"sharing": "maybe"}})]


def test_a_row_with_too_few_or_many_cells_is_told() -> None:
    found = from_csv('a,b\n1\n1,2,3\n"x, y",2\n')
    assert found == [
        Line(1, None, "wrong_number_of_columns"),
        Line(2, None, "wrong_number_of_columns"),
        Line(3, {"a": "x, y", "b": "2"}),
    ]


def test_what_is_no_csv_in_utf8_is_an_error() -> None:
    with pytest.raises(UnicodeDecodeError):
        from_csv("이름\n김철수".encode("euc-kr"))
    with pytest.raises(csv.Error):
        from_csv('a\n"open')


def test_an_empty_file_has_no_rows() -> None:
    assert from_csv("") == []
    assert from_ndjson(b"") == []


@given(st.lists(st.integers(0, 300) | st.none(), max_size=60))
def test_batches_keep_every_line_in_order_and_their_bounds(sizes: list[int | None]) -> None:
    lines = [
        Line(n, None, "bad_json") if size is None else Line(n, {"x": "y" * size}) for n, size in enumerate(sizes, 1)
    ]
    found = list(batches(lines, rows_max=5, bytes_max=500))
    assert [line for batch in found for line in batch] == lines
    for batch in found:
        bodies = [line.body for line in batch if line.body is not None]
        assert batch
        assert len(bodies) <= 5
        assert len(bodies) == 1 or sum(len(str(body["x"])) for body in bodies) < 500


def test_every_code_has_a_reason_in_both_languages() -> None:
    for code in ("email_taken", "bad_json", "a code of next year"):
        ko, en = reason_of(code)
        assert any("가" <= c <= "힣" for c in ko)
        assert en.isascii()


def test_a_declaration_of_age_is_true_false_or_left_for_the_service_to_refuse() -> None:
    found = from_csv("age_declaration\ny\nfalse\nmaybe\n")
    assert [line.body for line in found] == [
        {"age_declaration": True},
        {"age_declaration": False},
        {"age_declaration": "maybe"},
    ]

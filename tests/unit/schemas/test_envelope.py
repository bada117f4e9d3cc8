"""Headers: CloudEvents binary mode as the independent library reads it, and everything else refused."""

import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import REQUIRED_HEADERS, from_headers, to_headers
from schemas.errors import CodecError
from tests.unit.schemas.samples import AT, CHANGE, MEMBER, an_envelope

GOOD = {name: text.encode() for name, text in to_headers(an_envelope("fact")).items()}


def code_of(headers: list[tuple[str, Any]]) -> str:
    with pytest.raises(CodecError) as error:
        from_headers(headers)
    return error.value.code


def test_the_headers_are_those_of_the_contract() -> None:
    assert {name: text.decode() for name, text in GOOD.items()} == {
        "ce_specversion": "1.0",
        "ce_id": "01a20f2a-a131-762e-ae9c-05d2a6798050",
        "ce_type": "kr.dongui.member.corrected.v1",
        "ce_source": "/dongui/consent",
        "ce_time": "2026-11-24T03:00:00Z",
        "ce_subject": MEMBER,
        "ce_sequence": "3",
        "ce_previous": "2",
        "ce_dataschema": "urn:dongui:fact:v1",
        "ce_changeid": CHANGE,
        "content-type": "application/json",
        "traceparent": "00-d76d2927fccb9094e2bd650245276410-04c6654690475a10-00",
    }


def test_a_cloudevents_library_reads_them() -> None:
    event = from_binary(KafkaMessage(GOOD, None, b"{}"), JSONFormat(), CloudEvent)
    assert (event.get_subject(), event.get_time()) == (MEMBER, AT)
    assert event.get_attributes()["changeid"] == CHANGE


@pytest.mark.parametrize("name", REQUIRED_HEADERS)
def test_each_required_header_is_required_once_and_not_empty(name: str) -> None:
    others = [(n, v) for n, v in GOOD.items() if n != name]
    assert code_of(others) == "bad_headers"
    assert code_of([*GOOD.items(), (name, GOOD[name])]) == "bad_headers"
    assert code_of([*others, (name, b"")]) == "bad_headers"
    assert code_of([*others, (name, None)]) == "bad_headers"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_specversion", b"0.3"),
        ("ce_time", b"yesterday"),
        ("ce_sequence", b"-1"),
        ("ce_sequence", b"03"),
        ("ce_sequence", b"3.0"),
        ("ce_sequence", "３".encode()),
        ("ce_sequence", b"9223372036854775808"),
        ("ce_subject", b"\xff\xfe"),
        ("ce_changeid", b"not-a-uuid"),
    ],
)
def test_an_ill_formed_header_is_refused(name: str, value: bytes) -> None:
    assert code_of([(n, v) for n, v in GOOD.items() if n != name] + [(name, value)]) == "bad_headers"


@pytest.mark.parametrize("name", ["ce_extra", "CE_ID", "Content-Type", "ce_changeid"])
def test_a_cloudevents_header_we_do_not_know_or_know_already_is_refused(name: str) -> None:
    assert code_of([*GOOD.items(), (name, CHANGE.encode())]) == "bad_headers"


def test_headers_that_are_not_cloudevents_may_pass() -> None:
    assert from_headers([*GOOD.items(), ("x-other", b"1"), ("retry", None)]) == from_headers(GOOD.items())


def test_a_record_that_nobody_traced_has_the_trace_context_of_its_change_not_sampled() -> None:
    made = {
        to_headers(an_envelope(name, change_id=CHANGE))["traceparent"] for name in ("fact", "projection", "receipt")
    }
    assert len(made) == 1
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", made.pop())


def test_without_a_change_the_trace_context_is_of_the_event() -> None:
    one, other = (to_headers(an_envelope("register", id=name))["traceparent"] for name in ("one", "other"))
    assert one != other
    assert to_headers(an_envelope("register", id="one"))["traceparent"] == one


def test_a_trace_context_that_is_there_is_kept() -> None:
    given_one = f"00-{'a' * 32}-{'b' * 16}-01"
    assert to_headers(an_envelope("fact", traceparent=given_one))["traceparent"] == given_one


def test_an_ill_formed_traceparent_costs_no_record() -> None:
    assert from_headers([*GOOD.items(), ("traceparent", b"nonsense")]).traceparent is None


def test_what_no_reader_could_read_is_not_written() -> None:
    for changes in ({"sequence": -1}, {"previous": 2**63}, {"time": AT.replace(tzinfo=None)}):
        with pytest.raises(CodecError, match="bad_headers"):
            to_headers(an_envelope("fact", **changes))


@given(
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=30),
    at=st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.timezones() | st.just(UTC)),
    number=st.integers(0, 2**63 - 1),
)
def test_the_headers_are_those_the_library_writes_and_what_it_reads(name: str, at: datetime, number: int) -> None:
    env = an_envelope("fact", id=name, source=f"/{name}", time=at, sequence=number)
    attributes = {
        "specversion": "1.0",
        "id": name,
        "type": env.type,
        "source": env.source,
        "subject": env.subject,
        "time": at.astimezone(UTC),
        "dataschema": env.dataschema,
        "datacontenttype": env.content_type,
        "sequence": str(number),
        "previous": str(env.previous),
        "changeid": env.change_id,
    }
    written = to_binary(CloudEvent(attributes), JSONFormat()).headers
    assert {n: text.encode() for n, text in to_headers(env).items() if n != "traceparent"} == written
    assert from_headers(written.items()) == an_envelope(
        "fact", id=name, source=f"/{name}", time=at.astimezone(UTC), sequence=number
    )


@pytest.mark.parametrize(
    "text", ["2026-11-24T12:00:00+09:00", "20261124T030000Z", "2026-11-24T03:00:00.5Z", "2026-11-24T03:00Z"]
)
def test_a_time_in_another_form_is_read_as_the_library_reads_it(text: str) -> None:
    headers = [(n, v) for n, v in GOOD.items() if n != "ce_time"] + [("ce_time", text.encode())]
    assert from_headers(headers).time in {AT, AT + timedelta(milliseconds=500)}


@given(st.lists(st.tuples(st.sampled_from([*GOOD, "traceparent", "x"]), st.binary(max_size=40) | st.none())))
def test_no_headers_raise_anything_but_a_codec_error(headers: list[tuple[str, Any]]) -> None:
    for found in ([*GOOD.items(), *headers], headers):
        with contextlib.suppress(CodecError):
            assert from_headers(found).subject == MEMBER

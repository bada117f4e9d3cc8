"""The codec: what fits comes back the same, what does not is refused with a code and nothing else is ever raised."""

import base64
import os
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwe as jose
from joserfc.jwk import OctKey

from schemas import codec
from schemas.codec import CodecError
from schemas.envelope import Envelope, from_headers, to_headers
from tests.unit.schemas.samples import (
    CHANGE,
    CLEAR,
    FACT,
    KIDS,
    MEMBER,
    OTHER,
    PROJECTION,
    RECEIPT,
    SEALED,
    an_envelope,
)

KEY = bytes(range(32))
TOPIC = "dongui.affiliate.tmax-os.v1"
LIBRARY = jose.JWERegistry(algorithms=["dir", "A256GCM"], strict_check_header=False)


def body_of(shape: Any, **changes: Any) -> bytes:
    found = shape.model_dump(mode="json") | changes
    return orjson.dumps({k: v for k, v in found.items() if v is not ...})


def refused(env: Envelope, value: bytes | None) -> str:
    with pytest.raises(CodecError) as error:
        codec.decode_clear(env, value)
    assert str(error.value) == error.value.code
    return error.value.code


def unsealed(value: bytes, env: Envelope | None = None, *, key: bytes = KEY, topic: str = TOPIC) -> str:
    with pytest.raises(CodecError) as error:
        codec.unseal(env or an_envelope("projection"), value, key=key, topic=topic)
    return error.value.code


def sealed(shape: Any = PROJECTION, name: str = "projection", topic: str = TOPIC) -> bytes:
    return codec.seal(shape, key=KEY, kid=KIDS[name], topic=topic)


@pytest.mark.parametrize("name", CLEAR)
def test_a_clear_shape_comes_back_the_same(name: str) -> None:
    env = an_envelope(name)
    assert codec.decode_clear(env, codec.encode_clear(CLEAR[name], env)) == CLEAR[name]
    assert not codec.is_sealed(env)


@pytest.mark.parametrize("name", SEALED)
def test_a_sealed_shape_comes_back_the_same(name: str) -> None:
    value = sealed(SEALED[name], name)
    env = an_envelope(name)
    assert codec.is_sealed(env)
    assert codec.kid_of(value) == KIDS[name]
    assert codec.unseal(env, value, key=KEY, topic=TOPIC) == SEALED[name]


def test_only_the_retention_database_is_sent_statutory_records_and_nothing_else() -> None:
    for name, kid in (("record", f"tmax-os.{MEMBER}.1"), ("projection", f"retention.{MEMBER}.1")):
        with pytest.raises(CodecError, match="header_mismatch"):
            codec.seal(SEALED[name], key=KEY, kid=kid, topic=TOPIC)


def test_a_statutory_record_travels_under_its_own_id() -> None:
    value = sealed(SEALED["record"], "record")
    assert unsealed(value, an_envelope("record", id=CHANGE)) == "header_mismatch"


def test_an_independent_library_opens_what_we_seal() -> None:
    opened = jose.decrypt_compact(sealed(), OctKey.import_key(KEY), registry=LIBRARY)
    assert orjson.loads(opened.plaintext or b"")["member"]["name"] == "홍길동"
    assert opened.headers() == {
        "alg": "dir",
        "enc": "A256GCM",
        "kid": KIDS["projection"],
        "topic": TOPIC,
        "member": MEMBER,
        "seq": 3,
    }


def test_we_open_what_an_independent_library_seals() -> None:
    header = {"alg": "dir", "enc": "A256GCM", "kid": KIDS["projection"], "topic": TOPIC, "member": MEMBER, "seq": 3}
    value = jose.encrypt_compact(header, body_of(PROJECTION), OctKey.import_key(KEY), registry=LIBRARY)
    assert codec.unseal(an_envelope("projection"), value.encode(), key=KEY, topic=TOPIC) == PROJECTION


def test_a_state_from_before_a_processors_part_had_a_status_is_still_read() -> None:
    processed = {"service": "hypermeeting", "role": "host", "items": {"phone": "010", "friends": ["a", "b"]}}
    header = {"alg": "dir", "enc": "A256GCM", "kid": KIDS["projection"], "topic": TOPIC, "member": MEMBER, "seq": 3}
    body = body_of(PROJECTION, processed=processed)
    value = jose.encrypt_compact(header, body, OctKey.import_key(KEY), registry=LIBRARY)
    assert codec.unseal(an_envelope("projection"), value.encode(), key=KEY, topic=TOPIC) == PROJECTION


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "A256KW"},
        {"enc": "A128GCM"},
        {"zip": "DEF"},
        {"crit": ["exp"]},
        {"seq": True},
        {"seq": "3"},
        {"kid": None},
        {"topic": ...},
    ],
)
def test_a_jwe_of_any_other_form_is_refused(changes: dict[str, Any]) -> None:
    right = {"alg": "dir", "enc": "A256GCM", "kid": KIDS["projection"], "topic": TOPIC, "member": MEMBER, "seq": 3}
    header = orjson.dumps({k: v for k, v in (right | changes).items() if v is not ...})
    first = base64.urlsafe_b64encode(header).rstrip(b"=")
    assert unsealed(b".".join([first, *sealed().split(b".")[1:]])) == "bad_jwe"


def test_a_header_name_said_twice_is_refused() -> None:
    twice = b'{"alg":"none","alg":"dir",' + orjson.dumps(
        {"enc": "A256GCM", "kid": KIDS["projection"], "topic": TOPIC, "member": MEMBER, "seq": 3}
    ).removeprefix(b"{")
    first = base64.urlsafe_b64encode(twice).rstrip(b"=")
    assert unsealed(b".".join([first, *sealed().split(b".")[1:]])) == "bad_jwe"


def test_another_spelling_of_the_same_bytes_is_refused() -> None:
    """Base64 has spare bits: the last character of a 16-byte tag could be written in 16 ways."""
    value = bytearray(sealed())
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    value[-1] = alphabet[alphabet.index(value[-1]) ^ 1]
    assert unsealed(bytes(value)) == "bad_jwe"


@pytest.mark.f(31)
def test_a_flipped_bit_anywhere_is_refused() -> None:
    value = sealed()
    for position in range(0, len(value), 7):
        broken = value[:position] + bytes([value[position] ^ 4]) + value[position + 1 :]
        assert unsealed(broken) in {"bad_jwe", "wrong_key", "header_mismatch"}


@pytest.mark.f(31)
def test_the_wrong_key_and_a_key_of_another_length_are_refused() -> None:
    assert unsealed(sealed(), key=bytes(32)) == "wrong_key"
    assert unsealed(sealed(), key=KEY[:16]) == "wrong_key"


@pytest.mark.f(31)
def test_a_sealed_record_cannot_be_moved() -> None:
    env = an_envelope("projection")
    assert unsealed(sealed(), topic="dongui.affiliate.tmax-anc.v1") == "header_mismatch"
    assert unsealed(sealed(), replace(env, subject=OTHER)) == "header_mismatch"
    assert unsealed(sealed(), replace(env, sequence=4)) == "header_mismatch"
    assert unsealed(sealed(), replace(env, previous=2)) == "header_mismatch"
    assert unsealed(sealed(), an_envelope("fact")) == "header_mismatch"


@pytest.mark.parametrize("kid", [f"tmax-os.{OTHER}.1", "tmax-os", f"tmax-os.{MEMBER}.0", f"Tmax.{MEMBER}.1"])
def test_nothing_is_sealed_under_a_key_that_is_not_the_members(kid: str) -> None:
    with pytest.raises(CodecError, match="header_mismatch"):
        codec.seal(PROJECTION, key=KEY, kid=kid, topic=TOPIC)


def test_a_notice_is_sealed_for_its_recipient_only() -> None:
    with pytest.raises(CodecError, match="header_mismatch"):
        codec.seal(SEALED["notice"], key=KEY, kid=f"tmax-os.{MEMBER}.1", topic=TOPIC)


BODIES = [
    (b"{", "bad_json"),
    (b"\xff", "bad_json"),
    (b"", "bad_json"),
    (b"[]", "invalid_field"),
    (None, "null_value"),
    (b" " * (codec.SIZE_MAX + 1), "too_large"),
    (body_of(FACT, nickname="x"), "unknown_field"),
    (body_of(FACT, seq="3"), "invalid_field"),
    (body_of(FACT, seq=0), "invalid_field"),
    (body_of(FACT, at="2026-11-24T03:00:00"), "invalid_field"),
    (body_of(FACT, note="free text"), "invalid_field"),
    (body_of(FACT, policy_version=...), "invalid_field"),
    (body_of(FACT, policy_version="a\x00b"), "invalid_field"),
    (body_of(FACT, member_ref=MEMBER.upper()), "invalid_field"),
    (body_of(FACT, seq=4), "header_mismatch"),
    (body_of(FACT, member_ref=OTHER), "header_mismatch"),
    (body_of(FACT, change="withdrawn"), "header_mismatch"),
    (body_of(FACT, change_id=OTHER), "header_mismatch"),
]


@pytest.mark.parametrize(("value", "code"), BODIES)
def test_a_body_that_does_not_fit_is_refused_with_its_code(value: bytes | None, code: str) -> None:
    assert refused(an_envelope("fact"), value) == code


ENVELOPES: list[tuple[dict[str, Any], str]] = [
    ({"type": "kr.dongui.member.corrected.v2"}, "unknown_type"),
    ({"dataschema": "urn:dongui:fact:v2"}, "unknown_schema"),
    ({"dataschema": "urn:dongui:projection:v1"}, "header_mismatch"),
    ({"dataschema": "urn:dongui:stop:v1"}, "unknown_field"),
    ({"type": "kr.dongui.receipt.v1"}, "header_mismatch"),
    ({"content_type": "application/jose"}, "header_mismatch"),
    ({"sequence": 9}, "header_mismatch"),
    ({"previous": 1}, "header_mismatch"),
    ({"change_id": OTHER}, "header_mismatch"),
]


@pytest.mark.parametrize(("changes", "code"), ENVELOPES)
def test_an_envelope_that_tells_another_story_is_refused(changes: dict[str, Any], code: str) -> None:
    assert refused(an_envelope("fact", **changes), body_of(FACT)) == code


@pytest.mark.parametrize("name", ["suppression", "disclosure"])
def test_a_change_named_over_a_body_without_one_is_refused(name: str) -> None:
    assert refused(an_envelope(name, change_id=CHANGE), body_of(CLEAR[name])) == "header_mismatch"


def test_a_record_without_the_change_header_is_still_taken() -> None:
    assert codec.decode_clear(an_envelope("receipt", change_id=None), body_of(RECEIPT)) == RECEIPT


def test_a_leaf_index_beyond_the_database_is_refused() -> None:
    assert refused(an_envelope("receipt"), body_of(RECEIPT, leaf_index=2**63)) == "invalid_field"
    assert refused(an_envelope("receipt"), body_of(RECEIPT, leaf_index=-1)) == "invalid_field"


@given(st.binary(max_size=300) | st.none(), st.sampled_from([*CLEAR, *SEALED]))
def test_no_bytes_raise_anything_but_a_codec_error(value: bytes | None, name: str) -> None:
    env = an_envelope(name)
    for step in (
        lambda: codec.decode_clear(env, value),
        lambda: codec.unseal(env, value, key=KEY, topic=TOPIC),
        lambda: codec.kid_of(value),
    ):
        with pytest.raises(CodecError):
            step()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(sorted(FACT.model_dump())), value=JSON)
def test_any_value_in_any_field_decodes_or_is_refused_with_a_code(field: str, value: Any) -> None:
    try:
        body = orjson.dumps(FACT.model_dump(mode="json") | {field: value})
    except TypeError:  # beyond what JSON of ours can say
        return
    try:
        found = codec.decode_clear(an_envelope("fact"), body)
    except CodecError:
        return
    assert found.model_dump(mode="json")[field] is not ...


@given(seq=st.integers(1, 2**63 - 1), prev=st.integers(0, 2**63 - 1))
def test_headers_come_back_the_same(seq: int, prev: int) -> None:
    env = an_envelope("projection", sequence=seq, previous=prev, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    assert from_headers([(name, text.encode()) for name, text in to_headers(env).items()]) == env


def test_nonsense_is_longer_than_it_looks() -> None:
    """A random value of the right length is refused as a JWE, not as JSON."""
    assert unsealed(os.urandom(500)) == "bad_jwe"


@pytest.mark.parametrize("text", [r"\u0000", r"C:\u0000", r"\\\u0000"])
def test_a_text_that_only_speaks_of_nul_is_a_text(text: str) -> None:
    """Found in review: a statutory record with such a text could not be sealed, and its erasure ended the process."""
    shape = PROJECTION.model_copy(update={"member": PROJECTION.member.model_copy(update={"name": text})})
    found = codec.unseal(an_envelope("projection"), sealed(shape), key=KEY, topic=TOPIC)
    assert found.member.name == text


@pytest.mark.parametrize("text", ["\0", "\\\0", "\\\\\0"])
def test_a_nul_is_refused_behind_any_number_of_backslashes(text: str) -> None:
    shape = PROJECTION.model_copy(update={"member": PROJECTION.member.model_copy(update={"name": text})})
    with pytest.raises(CodecError, match="invalid_field"):
        sealed(shape)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+09:00", "9999-12-31T23:59:59-09:00", "1899-12-31T00:00:00Z"])
def test_an_instant_that_no_database_would_take_is_refused(at: str) -> None:
    """Found in review: it overflows when it is stored, and its batch would be tried again for ever."""
    assert refused(an_envelope("receipt"), body_of(RECEIPT, at=at)) == "invalid_field"

"""Derived keys and digests: against HKDF and HMAC written out by hand, and what may never be equal."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.keyring import derive

DATA_KEY = bytes(range(32))
MEMBER = "01a20f2a-a131-762e-ae9c-05d2a679804e"
KID = f"tmax-os.{MEMBER}.1"


def hkdf(key: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt, one block: written from the RFC."""
    extracted = hmac.digest(bytes(32), key, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def test_a_content_key_is_hkdf_of_the_data_key_and_the_kid() -> None:
    assert derive.content_key(DATA_KEY, KID) == hkdf(DATA_KEY, b"dongui/content/v1/" + KID.encode())


def test_a_commitment_is_an_hmac_under_a_key_of_its_own() -> None:
    key = hkdf(DATA_KEY, b"dongui/commitment/v1")
    wanted = hmac.digest(key, b"email\x00hong@example.com", hashlib.sha256)
    found = derive.MemberKeys(DATA_KEY).commitments({"email": "hong@example.com", "name": "hong@example.com"})
    assert base64.urlsafe_b64decode(found["email"] + "=") == wanted
    assert found["email"] != derive.MemberKeys(bytes(32)).commitments({"email": "hong@example.com"})["email"]
    assert found["email"] != found["name"]
    assert derive.MemberKeys(b"").commitments({}) == {}


def test_a_value_committed_again_is_told_from_the_one_before() -> None:
    keys = derive.MemberKeys(DATA_KEY)
    before, after, again = (keys.commitments({"name": name})["name"] for name in ("홍길동", "홍길순", "홍길동"))
    assert before == again != after
    assert after == derive.MemberKeys(DATA_KEY).commitments({"name": "홍길순"})["name"]


def test_recipients_members_and_epochs_have_different_keys() -> None:
    other = MEMBER.replace("01a2", "01a3")
    kids = [KID, f"tmax-anc.{MEMBER}.1", f"tmax-os.{MEMBER}.2", f"tmax-os.{other}.1"]
    assert len({derive.content_key(DATA_KEY, kid) for kid in kids}) == 4


def test_a_jwk_is_of_rfc_7517() -> None:
    key = bytes(range(32))
    assert derive.jwk(key, KID) == {
        "kty": "oct",
        "kid": KID,
        "k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "alg": "A256GCM",
    }


@given(
    recipient=st.from_regex(r"[a-z][a-z0-9-]{1,62}", fullmatch=True),
    epoch=st.integers(min_value=1, max_value=999_999_999),
)
def test_a_kid_comes_back_the_same(recipient: str, epoch: int) -> None:
    assert derive.parse_kid(derive.format_kid(recipient, MEMBER, epoch)) == (recipient, MEMBER, epoch)


@pytest.mark.parametrize(
    "kid",
    ["", "tmax-os", f"tmax-os.{MEMBER}", f"tmax-os.{MEMBER}.0", f"T.{MEMBER}.1", f"tmax-os.{MEMBER}.1\n", "a.b.1"],
)
def test_what_is_no_kid_is_refused_without_being_repeated(kid: str) -> None:
    with pytest.raises(ValueError, match=r"^not a key id$"):
        derive.parse_kid(kid)


def test_a_data_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        derive.content_key(bytes(16), KID)


@pytest.mark.parametrize(
    "spelling", ["hong@example.com", "HONG@EXAMPLE.COM", " hong@example.com ", "Hong@Example.com", "ｈong@example.com"]
)
def test_spellings_of_one_mailbox_have_one_index(spelling: str) -> None:
    same = derive.email_index(b"k" * 32, "hong@example.com") == derive.email_index(b"k" * 32, spelling)
    assert same == (not spelling.startswith("ｈ")), "a full-width letter is another mailbox"


def test_composed_and_decomposed_hangul_have_one_index() -> None:
    composed, decomposed = "\ud64d@example.com", "\u1112\u1169\u11bc@example.com"
    assert composed != decomposed
    assert derive.email_index(b"k" * 32, composed) == derive.email_index(b"k" * 32, decomposed)


def test_the_index_needs_its_key() -> None:
    assert derive.email_index(b"a" * 32, "x@example.com") != derive.email_index(b"b" * 32, "x@example.com")

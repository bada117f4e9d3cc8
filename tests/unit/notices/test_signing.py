"""Signatures, held against the `standardwebhooks` library and the vectors published with the specification."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from services.propagator.notices.signing import Signer, SigningKeyError, secret_of, seed_of
from services.runtime.clock import KST

pytestmark = pytest.mark.f(21)

SEED = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
AT = datetime(2026, 11, 24, 3, 0, 30, 700_000, tzinfo=UTC)
BODY = json.dumps({"type": "kr.dongui.member.corrected.v1", "data": {"name": "김하늘"}}, ensure_ascii=False).encode()


def _headers() -> dict[str, str]:
    return Signer(SEED).headers("6f1c1d0e-0000-4000-8000-000000000001", AT, BODY, secret_of(SECRET))


@pytest.mark.f(21)
def test_the_hmac_is_the_one_of_the_published_example() -> None:
    """The test vector of the Standard Webhooks libraries (`whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`)."""
    headers = Signer(SEED).headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1_614_265_330, UTC),
        b'{"test": 2432232314}',
        secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    )
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"].split(" ")[1] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_independent_library_takes_our_signature() -> None:
    with time_machine.travel(AT, tick=False):
        assert Webhook(SECRET).verify(BODY, _headers()) == json.loads(BODY)


def test_the_timestamp_is_in_whole_utc_seconds_whatever_the_zone() -> None:
    kst = AT.astimezone(KST)
    again = Signer(SEED).headers("6f1c1d0e-0000-4000-8000-000000000001", kst, BODY, secret_of(SECRET))
    assert again == _headers()
    assert again["webhook-timestamp"] == "1795489230"


def test_the_public_key_verifies_what_was_sent() -> None:
    headers = _headers()
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(Signer(SEED).public_key.removeprefix("whpk_")))
    version, _, signature = headers["webhook-signature"].split(" ")[0].partition(",")
    assert version == "v1a"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + BODY
    public.verify(base64.b64decode(signature), signed)
    for position in range(len(signed)):
        flipped = signed[:position] + bytes([signed[position] ^ 1]) + signed[position + 1 :]
        with pytest.raises(InvalidSignature):
            public.verify(base64.b64decode(signature), flipped)


NEW_SEED = bytes(range(1, 33))
NEW_SECRET = "whsec_" + base64.b64encode(b"fedcba9876543210fedcba9876543210").decode()


@pytest.mark.f(21)
@pytest.mark.parametrize("secret", [SECRET, NEW_SECRET])
@pytest.mark.parametrize("seed", [SEED, NEW_SEED])
def test_while_keys_are_rotated_a_receiver_with_the_old_or_the_new_ones_verifies(secret: str, seed: bytes) -> None:
    headers = Signer(NEW_SEED, SEED).headers("m-1", AT, BODY, secret_of(NEW_SECRET), secret_of(SECRET))
    with time_machine.travel(AT, tick=False):
        assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(Signer(seed).public_key.removeprefix("whpk_")))
    signed = f"m-1.{headers['webhook-timestamp']}.".encode() + BODY
    good = [s for s in headers["webhook-signature"].split(" ") if s.startswith("v1a,") and _verifies(public, s, signed)]
    assert len(good) == 1


def _verifies(public: Ed25519PublicKey, entry: str, signed: bytes) -> bool:
    try:
        public.verify(base64.b64decode(entry.partition(",")[2]), signed)
    except InvalidSignature:
        return False
    return True


def test_the_new_key_is_named_first() -> None:
    assert Signer(NEW_SEED, SEED).public_keys == [Signer(NEW_SEED).public_key, Signer(SEED).public_key]
    assert Signer(NEW_SEED, SEED).public_key == Signer(NEW_SEED).public_key


@pytest.mark.f(21)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), part=st.sampled_from(["id", "timestamp", "body"]))
def test_no_byte_of_id_timestamp_or_body_can_change(data: Any, part: str) -> None:
    headers = _headers()
    texts = {"id": headers["webhook-id"], "timestamp": headers["webhook-timestamp"], "body": BODY.decode()}
    position = data.draw(st.integers(0, len(texts[part]) - 1))
    other = chr(ord(texts[part][position]) ^ 1)
    texts[part] = texts[part][:position] + other + texts[part][position + 1 :]
    changed = headers | {"webhook-id": texts["id"], "webhook-timestamp": texts["timestamp"]}
    with time_machine.travel(AT, tick=False), pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(texts["body"], changed)


@pytest.mark.f(21)
@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_receiver_refuses_a_signature_six_minutes_off(minutes: int) -> None:
    with time_machine.travel(AT + timedelta(minutes=minutes), tick=False), pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, _headers())


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_c2hvcnQ=", SECRET.removeprefix("whsec_"), "whsec_!!!", "whsec_" + "QUFB" * 30],
)
def test_a_bad_secret_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(SigningKeyError) as caught:
        secret_of(text)
    assert not text or text not in str(caught.value)


def test_a_seed_may_be_raw_or_base64() -> None:
    assert seed_of(SEED) == SEED
    assert seed_of(base64.b64encode(SEED) + b"\n") == SEED
    with pytest.raises(SigningKeyError):
        seed_of(b"short")

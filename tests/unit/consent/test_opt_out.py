"""The token of a refusal link: sealed, unguessable, expiring; and the mail headers that carry the link."""

from base64 import urlsafe_b64decode
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.consent.messages import opt_out
from services.consent.messages.adapters import Outbound, mail_of
from services.consent.messages.opt_out import OptOut
from services.runtime.problem import Problem

KEY = bytes(range(40))
NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
REF = str(UUID(int=0x1234567890ABCDEF))
WANTED = OptOut(REF, "tmax-os", "email", NOW + timedelta(180))
TOKEN = opt_out.token_of(KEY, WANTED)


def refused(token: str, at: datetime = NOW, key: bytes = KEY) -> tuple[int, str]:
    with pytest.raises(Problem) as found:
        opt_out.opened(key, token, at)
    return found.value.status, found.value.code


def test_a_token_says_its_consent_back_to_us_and_nothing_to_anybody_else() -> None:
    assert opt_out.opened(KEY, TOKEN, NOW) == WANTED
    raw = urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))
    assert UUID(REF).bytes not in raw
    assert b"tmax" not in raw
    assert b"email" not in raw
    assert opt_out.token_of(KEY, WANTED) != TOKEN, "no two are alike"


def test_a_token_expires_to_the_second() -> None:
    assert opt_out.opened(KEY, TOKEN, WANTED.expires_at - timedelta(seconds=1)) == WANTED
    assert refused(TOKEN, WANTED.expires_at) == (410, "opt_out_expired")


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("ABCXYZabcxyz059-_"))
@settings(max_examples=150)
def test_a_token_changed_in_any_place_is_no_token(place: int, letter: str) -> None:
    changed = TOKEN[:place] + letter + TOKEN[place + 1 :]
    same = urlsafe_b64decode(changed + "=" * (-len(changed) % 4)) == urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))
    if not same:
        assert refused(changed) == (404, "opt_out_unknown")


@pytest.mark.parametrize("token", ["", "a", "한글", "A" * 400, TOKEN[:-2], TOKEN + "AAAA", "=" * 8])
def test_what_is_no_token_is_unknown(token: str) -> None:
    assert refused(token) == (404, "opt_out_unknown")


def test_another_installation_cannot_open_it() -> None:
    assert refused(TOKEN, key=bytes(40)) == (404, "opt_out_unknown")


@pytest.mark.parametrize(("medium", "channel"), [("email", "email"), ("sms", "sms"), ("push", None), ("pigeon", None)])
def test_a_link_is_for_the_reception_consent_of_its_medium(medium: str, channel: str | None) -> None:
    found = opt_out.link(KEY, "https://account.example.com/", REF, "tmax-os", medium, NOW)
    if channel is None:
        assert found is None
        return
    assert found is not None
    base, _, token = found.rpartition("/")
    assert base == "https://account.example.com/v1/opt-outs"
    assert opt_out.opened(KEY, token, NOW) == OptOut(REF, "tmax-os", channel, NOW + timedelta(180))


@pytest.mark.parametrize("link", [None, f"https://account.example.com/v1/opt-outs/{TOKEN}"])
def test_the_headers_stay_whole_on_the_wire(link: str | None) -> None:
    text = ("(광고) 제목", "본문", "ko")
    message = Outbound("i", REF, "email", "㈜티맥스", "a@example.com", *text, "stop@example.com", link)
    raw = mail_of(message, "noreply@example.com", lambda: NOW).as_bytes()
    unfolded = raw.replace(b"\r\n", b"\n").replace(b"\n ", b" ").decode()
    wanted = f"<{link}>, <mailto:stop@example.com>" if link else "<mailto:stop@example.com>"
    assert max(map(len, raw.splitlines())) < 998
    assert f"\nList-Unsubscribe: {wanted}\n" in unfolded
    assert ("\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n" in unfolded) is (link is not None)

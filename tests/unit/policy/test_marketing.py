"""Whether an advertisement may go at an instant: law.md E1 to E3 and E5, every row by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.base import Marketing
from services.policy import ids, marketing
from services.policy.marketing import MediumId, may_send, reconfirm_by, reconfirmed
from services.runtime.clock import KST

ALL = Marketing(use=True, email=True, sms=True, night=True)
DAY = ALL.model_copy(update={"night": False})
MEDIA: tuple[MediumId, ...] = ("email", "sms", "push", "phone")


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 11, 23, hour, minute, second, tzinfo=KST)


@pytest.mark.parametrize(
    ("consents", "channel", "when", "expected"),
    [
        (DAY, "sms", at(20, 59, 59), (True, "1.5-send")),
        (DAY, "sms", at(21), (False, "1.5-night")),
        (DAY, "sms", at(0), (False, "1.5-night")),
        (DAY, "sms", at(7, 59, 59), (False, "1.5-night")),
        (DAY, "sms", at(8), (True, "1.5-send")),
        (DAY, "email", at(23), (True, "1.5-send")),
        (ALL, "sms", at(23), (True, "1.5-send")),
        (None, "email", at(12), (False, "1.5-use")),
        (Marketing(use=False, email=True, sms=True, night=True), "email", at(12), (False, "1.5-use")),
        (Marketing(use=True, email=True, sms=False, night=True), "sms", at(12), (False, "1.5-channel")),
        (Marketing(use=True, email=False, sms=True, night=False), "email", at(12), (False, "1.5-channel")),
        (Marketing(use=True, email=False, sms=False, night=False), "email", at(12), (False, "1.5-channel")),
        (ALL, "push", at(12), (False, "1.5-channel")),
        (ALL, "phone", at(12), (False, "1.5-channel")),
    ],
)
def test_three_consents_and_the_night_decide(
    consents: Marketing | None, channel: MediumId, when: datetime, expected: tuple[bool, str]
) -> None:
    assert may_send(consents, channel, when, reconfirmed=True) == expected


def test_the_night_is_that_of_korea_whatever_the_offset_of_the_instant() -> None:
    assert may_send(DAY, "sms", datetime(2026, 11, 23, 12, 0, tzinfo=UTC), reconfirmed=True) == (False, "1.5-night")
    assert may_send(DAY, "sms", datetime(2026, 11, 22, 23, 0, tzinfo=UTC), reconfirmed=True) == (True, "1.5-send")


@pytest.mark.parametrize(
    ("when", "allowed"), [(at(20, 59, 59), True), (at(21), False), (at(7, 59, 59), False), (at(8), True)]
)
def test_push_keeps_the_night_once_a_notice_offers_it(when: datetime, allowed: bool) -> None:
    known = marketing.advertising()
    offered = replace(known, media={**known.media, "push": known.media["push"].model_copy(update={"consent": "sms"})})
    assert may_send(DAY, "push", when, reconfirmed=True, data=offered)[0] is allowed


def test_an_overdue_check_blocks_what_the_consents_would_allow() -> None:
    assert may_send(ALL, "email", at(12), reconfirmed=False) == (False, "1.5-reconfirm")


def test_an_instant_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        may_send(ALL, "email", datetime(2026, 11, 23, 12), reconfirmed=True)


@settings(max_examples=100, deadline=None)
@given(
    consents=st.none() | st.builds(Marketing, **dict.fromkeys(("use", "email", "sms", "night"), st.booleans())),
    channel=st.sampled_from(MEDIA),
    second=st.integers(0, 86_399),
    checked=st.booleans(),
)
def test_nothing_goes_without_use_and_the_medium_whatever_else_holds(
    consents: Marketing | None, channel: MediumId, second: int, checked: bool
) -> None:
    when = at(second // 3600, second // 60 % 60, second % 60)
    night = second >= 21 * 3600 or second < 8 * 3600
    allowed, rule = may_send(consents, channel, when, reconfirmed=checked)
    mine = consents is not None and consents.use and checked
    by_medium = mine and (consents.email if channel == "email" else channel == "sms" and consents.sms)
    assert allowed is bool(by_medium and (channel == "email" or not night or consents.night))
    assert rule in marketing.RULE_IDS
    assert (rule == marketing.SEND) is allowed


@pytest.mark.parametrize(
    ("consented", "checks", "last"),
    [
        (date(2024, 11, 24), 0, date(2026, 11, 23)),
        (date(2024, 11, 23), 0, date(2026, 11, 22)),
        (date(2024, 2, 29), 0, date(2026, 2, 27)),
        (date(2024, 11, 24), 1, date(2028, 11, 23)),
        (date(2024, 2, 29), 1, date(2028, 2, 28)),
    ],
)
def test_the_check_is_anchored_on_the_consent_and_ends_the_day_before(consented: date, checks: int, last: date) -> None:
    given_at = datetime(consented.year, consented.month, consented.day, 10, tzinfo=KST)
    assert reconfirm_by(given_at, checks) == last
    end = datetime(last.year, last.month, last.day, 23, 59, 59, tzinfo=KST)
    assert reconfirmed(given_at, checks, end)
    assert not reconfirmed(given_at, checks, end + timedelta(seconds=1))


def test_every_rule_is_cited_and_none_is_a_rule_of_decide() -> None:
    rules = marketing.advertising().rules
    assert all(rule.statute and rule.ko and rule.en for rule in rules.values())
    assert not set(rules) & ids.ALL

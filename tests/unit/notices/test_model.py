"""What an answer means, as a table; and the body."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from schemas.events import Notice
from services.propagator.notices import plan
from services.propagator.notices.model import (
    Acknowledged,
    Again,
    Attempted,
    Reply,
    TooLargeError,
    answer_in,
    body_of,
    judge,
    masked_answer,
    masked_body,
)

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
NOTICE_ID = "6f1c1d0e-0000-4000-8000-000000000001"
SCHEDULE = plan.load().schedule
FIVE_SECONDS = NOW + timedelta(seconds=5)
CORRECTED = b'{"outcome":"corrected"}'


def _made(attempts: int, *, delivered: bool = False) -> Attempted:
    return Attempted(notice_id=NOTICE_ID, attempts=attempts, delivered=delivered)


@pytest.mark.parametrize(
    ("reply", "delivered", "expected"),
    [
        (Reply(3, 200, CORRECTED), False, Acknowledged("corrected", None)),
        (Reply(3, 202, b'{"outcome":"not_held"}'), True, Acknowledged("not_held", None)),
        (
            Reply(3, 200, b'{"outcome":"refused","reason":"law.keeps_it"}'),
            False,
            Acknowledged("refused", "law.keeps_it"),
        ),
        (
            Reply(3, 200, b'{"outcome":"corrected","notice_id":"%s"}' % NOTICE_ID.encode()),
            False,
            Acknowledged("corrected", None),
        ),
        (Reply(3, 200, b'{"outcome":"corrected","notice_id":"another"}'), False, Again("delivered", FIVE_SECONDS)),
        (Reply(3, 200, b'{"outcome":"corrected","notice_id":null}'), False, Again("delivered", FIVE_SECONDS)),
        (Reply(3, 200, b""), False, Again("delivered", FIVE_SECONDS)),
        (Reply(3, 204, b""), True, Again("delivered", FIVE_SECONDS)),
        (Reply(3, 200, b'{"outcome":"perhaps"}'), False, Again("delivered", FIVE_SECONDS)),
        (Reply(3, 500, CORRECTED), False, Again("pending", FIVE_SECONDS)),
        (Reply(3, 400, CORRECTED), False, Again("pending", FIVE_SECONDS)),
        (Reply(3, 302, CORRECTED), False, Again("pending", FIVE_SECONDS)),
        (Reply(3, 304, CORRECTED), True, Again("delivered", FIVE_SECONDS)),
        (Reply(3, 503, b"", "90"), False, Again("pending", NOW + timedelta(seconds=90))),
        (Reply(3, 429, b"", "1"), False, Again("pending", FIVE_SECONDS)),
        (Reply(3, 410, CORRECTED), False, Again("disabled", NOW, disable=True)),
        (Reply(3, 410, b""), True, Again("delivered", NOW, disable=True)),
        (Reply(20_000, error="TimeoutError"), False, Again("pending", FIVE_SECONDS)),
        (Reply(1, error="ClientConnectorError"), True, Again("delivered", FIVE_SECONDS)),
    ],
)
def test_each_answer_has_one_meaning(reply: Reply, delivered: bool, expected: object) -> None:
    assert judge(reply, _made(1, delivered=delivered), SCHEDULE, now=NOW, jitter=0.0) == expected


def test_the_wait_grows_with_the_attempts() -> None:
    verdict = judge(Reply(3, 500), _made(4), SCHEDULE, now=NOW, jitter=0.0)
    assert verdict == Again("pending", NOW + timedelta(hours=2))


def test_what_is_left_of_an_answer_that_cannot_be_read_is_its_status() -> None:
    whole = Reply(3, 503, CORRECTED, "Wed, 21 Oct 99999999999 07:28:00 GMT")
    assert whole.without_words("OverflowError") == Reply(3, 503, b"", None, "OverflowError")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"corrected",
        b"null",
        b"[]",
        b'"corrected"',
        b'{"outcome":null}',
        b'{"outcome":["corrected"]}',
        b'{"Outcome":"corrected"}',
        b'{"outcome":"corrected"',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_not_an_outcome_is_none(body: bytes) -> None:
    assert answer_in(body, NOTICE_ID) is None


@pytest.mark.parametrize("reason", ['"회원 김하늘"', '"UPPER"', "5", '"a b"', "null", '"' + "x" * 80 + '"'])
def test_a_reason_that_is_no_code_is_dropped(reason: str) -> None:
    body = f'{{"outcome":"refused","reason":{reason}}}'.encode()
    assert answer_in(body, NOTICE_ID) == Acknowledged("refused", None)


def _notice(values: dict[str, str]) -> Notice:
    return Notice(
        notice_id=NOTICE_ID,
        change_id="6f1c1d0e-0000-4000-8000-000000000002",
        member_ref="6f1c1d0e-0000-4000-8000-000000000003",
        recipient="demo-partner",
        seq=4,
        corrected_at=datetime(2026, 11, 24, 3, 0, tzinfo=UTC),
        items=("email", "hypermeeting.phone"),
        values=values,
    )


def test_the_body_is_what_the_third_party_page_says() -> None:
    body = body_of(_notice({"email": "haneul@example.kr", "name": "not one of the items"}))
    assert json.loads(body) == {
        "type": "kr.dongui.member.corrected.v1",
        "timestamp": "2026-11-24T03:00:00+00:00",
        "data": {
            "notice_id": "6f1c1d0e-0000-4000-8000-000000000001",
            "change_id": "6f1c1d0e-0000-4000-8000-000000000002",
            "member_ref": "6f1c1d0e-0000-4000-8000-000000000003",
            "sequence": 4,
            "items": ["email", "hypermeeting.phone"],
            "values": {"email": "haneul@example.kr"},
            "corrected_at": "2026-11-24T03:00:00+00:00",
        },
    }


def test_the_delivery_log_shows_the_body_without_a_value() -> None:
    shown = masked_body(_notice({"email": "haneul@example.kr", "name": "not one of the items"}))
    sent = json.loads(body_of(_notice({"email": "haneul@example.kr"})))
    sent["data"]["values"] = {"email": "***"}
    assert json.loads(json.dumps(shown)) == sent


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (Reply(3, 200, CORRECTED), {"outcome": "corrected"}),
        (
            Reply(3, 200, b'{"outcome":"refused","reason":"law.keeps_it"}'),
            {"outcome": "refused", "reason": "law.keeps_it"},
        ),
        (Reply(3, 200, b'{"outcome":"refused","reason":"haneul@example.kr"}'), {"outcome": "refused"}),
        (Reply(3, 200, b"haneul@example.kr"), {"bytes": 17}),
        (Reply(3, 500, CORRECTED), {"bytes": 23}),
        (Reply(3, error="TimeoutError"), {"bytes": 0}),
    ],
)
def test_of_an_answer_only_codes_or_the_size_are_kept(reply: Reply, shown: dict[str, object]) -> None:
    assert masked_answer(reply, NOTICE_ID) == shown


def test_a_body_of_twenty_thousand_bytes_is_refused() -> None:
    empty = len(body_of(_notice({"email": ""})))
    fits = _notice({"email": "x" * (19_999 - empty)})
    assert len(body_of(fits)) == 19_999
    with pytest.raises(TooLargeError):
        body_of(_notice({"email": "x" * (20_000 - empty)}))

"""Receipts and dead letters: derived ids, nothing that the database or the broker would refuse."""

from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka import ConsumerRecord

from schemas import codec
from schemas.envelope import from_headers
from schemas.receipts import Receipt
from services.propagator.answers import dead_letter, receipt, receipt_id

AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
CHANGE = "5f2b1c9e-0d8b-4b55-8a63-2b3f0f9a1c77"
REF = "0b7d9a52-54a3-4c7e-9d2f-7a1f0c7b3e11"
TOPIC = "dongui.affiliate.tmax-os.v1"


def raw(key: bytes | None, value: bytes | None, headers: Any = (), offset: int = 5) -> Any:
    return ConsumerRecord("t-" + TOPIC, 3, offset, 0, 0, key, value, None, 0, 0, headers)


def test_a_receipt_can_be_read_back_by_its_consumers() -> None:
    record = receipt("tmax-os", CHANGE, REF, 7, "refused", AT, reason="bad_json")
    assert record is not None
    env = from_headers([(n, v.encode()) for n, v in record.headers.items()])
    assert env.source == "/dongui/propagator/tmax-os"
    assert codec.decode_clear(env, record.payload) == Receipt(
        change_id=CHANGE,
        member_ref=REF,
        seq=7,
        recipient="tmax-os",
        kind="affiliate",
        stage="refused",
        at=AT,
        reason="bad_json",
    )
    assert (record.topic, record.key, record.id) == ("dongui.receipts.v1", REF, env.id)


def test_the_same_answer_has_the_same_id_and_another_stage_or_affiliate_another() -> None:
    args = [("tmax-os", "applied"), ("tmax-os", "applied"), ("tmax-os", "refused"), ("tmax-anc", "applied")]
    made = [receipt(a, CHANGE, REF, 7, stage, AT) for a, stage in args]  # type: ignore[arg-type]
    ids = [r.id for r in made if r is not None]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_an_answer_told_again_has_one_id_a_day_and_none_of_the_first_ones() -> None:
    days = [AT, AT + timedelta(hours=20), AT + timedelta(hours=21)]
    again = [receipt("tmax-os", CHANGE, REF, 7, "applied", day, again=True) for day in days]
    first = receipt("tmax-os", CHANGE, REF, 7, "applied", AT)
    ids = [r.id for r in (first, *again) if r is not None]
    assert ids[1] == ids[2]
    assert len({ids[0], ids[1], ids[3]}) == 3
    assert ids[1] == receipt_id("tmax-os", CHANGE, "applied", AT.date())


def test_a_change_without_an_id_is_not_answered() -> None:
    assert receipt("tmax-os", None, REF, 7, "applied", AT) is None


def test_a_letter_is_the_record_as_it_was_with_the_reason() -> None:
    letter = dead_letter(TOPIC, raw(REF.encode(), b"{", [("ce_type", b"a.b"), ("n", "값".encode())]), "bad_json")
    assert (letter.topic, letter.key, letter.type, letter.payload) == (f"{TOPIC}.dlq", REF, "a.b", b"{")
    assert letter.headers == {
        "ce_type": "a.b",
        "n": "값",
        "dongui-error": "bad_json",
        "dongui-origin": f"{TOPIC}/3/5",
    }


def test_a_record_read_again_is_the_same_letter_and_another_is_not() -> None:
    ids = [dead_letter(TOPIC, raw(None, b"x", offset=o), "bad_json").id for o in (5, 5, 6)]
    assert ids[0] == ids[1] != ids[2]


def test_what_postgresql_or_the_broker_would_refuse_is_left_out() -> None:
    odd = [("bin", b"\xff"), ("nul", b"\x00"), ("a\x00b", b"x"), ("none", None), ("ce_id", b"kept")]
    letter = dead_letter(TOPIC, raw(b"someone@example.com", None, odd), "null_value")
    assert set(letter.headers) == {"ce_id", "dongui-error", "dongui-origin"}
    assert (letter.key, letter.payload, letter.type) == (f"{TOPIC}/3", b"", "unknown")
    large = dead_letter(TOPIC, raw(None, b"x" * 950_000, [("ce_id", b"kept"), ("note", b"y" * 2000)]), "too_large")
    assert large.payload == b""
    assert large.headers["dongui-value-omitted"] == "950000"
    assert "note" not in large.headers
    assert large.headers["ce_id"] == "kept"

"""A receipt that was made once more is known by its words: nothing but a later instant is another."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from schemas.envelope import to_headers
from schemas.receipts import Receipt
from schemas.topics import RECEIPTS
from services.audit.leaf import Leaf, is_made_again, of_record, undecodable
from tests.integration.audit import records

AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
LATER = AT + timedelta(days=1)
CHANGE, REF, ID = (f"5f2b1c9e-0d8b-4b55-8a63-2b3f0f9a1c{n}" for n in (77, 78, 79))
REFUSED = Receipt(
    change_id=CHANGE,
    member_ref=REF,
    seq=7,
    recipient="tmax-os",
    kind="affiliate",
    stage="refused",
    at=AT,
    reason="bad_json",
)


def a_record(receipt: Receipt, event_id: str = ID, offset: int = 5) -> Any:
    envelope = records.envelope_of(receipt, event_id)
    headers = tuple((n, v.encode()) for n, v in to_headers(envelope).items())
    value = records.encoded(receipt, envelope)
    return ConsumerRecord(RECEIPTS, 0, offset, 0, 0, REF.encode(), value, None, 0, 0, headers)


def leaf_of(receipt: Receipt, offset: int = 5) -> Leaf:
    leaf = of_record(a_record(receipt, offset=offset))
    assert leaf is not None
    return leaf


def test_a_receipt_is_made_again_when_only_its_instant_is_later() -> None:
    before = leaf_of(REFUSED)
    again = leaf_of(REFUSED.model_copy(update={"at": LATER}), offset=9)
    assert again.content_hash != before.content_hash
    assert is_made_again(again, before.at, before.body)


@pytest.mark.parametrize(
    "changes",
    [
        {"at": AT - timedelta(seconds=1)},
        {"at": LATER, "stage": "applied"},
        {"at": LATER, "reason": "key_unknown"},
        {"at": LATER, "recipient": "tmax-anc"},
        {"at": LATER, "seq": 8},
    ],
)
def test_what_is_earlier_or_says_anything_else_is_not(changes: dict[str, Any]) -> None:
    before = leaf_of(REFUSED)
    assert not is_made_again(leaf_of(REFUSED.model_copy(update=changes)), before.at, before.body)


def test_a_fact_is_never_made_again_and_an_entry_without_words_is_repeated_by_nothing() -> None:
    fact = records.a_fact(REF, 7, at=LATER)
    envelope = records.envelope_of(fact, ID)
    headers = tuple((n, v.encode()) for n, v in to_headers(envelope).items())
    raw: Any = ConsumerRecord("dongui.facts.v1", 0, 5, 0, 0, None, records.encoded(fact, envelope), None, 0, 0, headers)
    leaf = of_record(raw)
    assert leaf is not None
    assert not is_made_again(leaf, AT, leaf.body)
    nothing = undecodable(a_record(REFUSED), "bad_json")
    assert not is_made_again(leaf_of(REFUSED), nothing.at, nothing.body)

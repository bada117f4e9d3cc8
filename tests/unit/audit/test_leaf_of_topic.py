"""A shape is believed from its own topic only: whoever may write receipts cannot say a fact into the log."""

import orjson
import pytest
from aiokafka import ConsumerRecord

from schemas.envelope import to_headers
from schemas.events import Fact
from schemas.receipts import Receipt
from schemas.topics import FACTS, RECEIPTS, dlq_of
from services.audit.leaf import UNDECODABLE_TYPE, Leaf, of_record
from tests.integration.audit import records

MEMBER = "00000000-0000-4000-8000-000000000001"
FACT = records.a_fact(MEMBER, 3, recipients=("tmax-os",))
ANSWER = records.an_answer(FACT, "tmax-os")
SEAL = ANSWER.model_copy(update={"recipient": "audit", "kind": "audit", "stage": "sealed", "leaf_index": 7})


def leaf_from(topic: str, shape: Fact | Receipt) -> Leaf | None:
    envelope = records.envelope_of(shape)
    headers = tuple((name, text.encode()) for name, text in to_headers(envelope).items())
    value = records.encoded(shape, envelope)
    return of_record(ConsumerRecord(topic, 0, 7, 0, 0, b"", value, None, 0, len(value), headers))


@pytest.mark.parametrize("prefix", ["", "test-7."])
def test_a_shape_on_its_own_topic_is_a_leaf_whatever_the_prefix(prefix: str) -> None:
    fact, answer = leaf_from(prefix + FACTS, FACT), leaf_from(prefix + RECEIPTS, ANSWER)
    assert fact is not None
    assert answer is not None
    assert (fact.type, fact.owed) == ("kr.dongui.member.corrected.v1", (("tmax-os", "affiliate"),))
    assert (answer.type, answer.answers) == ("kr.dongui.receipt.v1", True)
    assert leaf_from(prefix + RECEIPTS, SEAL) is None


@pytest.mark.parametrize(
    ("topic", "shape"),
    [
        (RECEIPTS, FACT),  # found in review: a propagator that was taken over invents a consent
        ("test-7." + RECEIPTS, FACT),
        (FACTS, ANSWER),
        (FACTS, SEAL),
        (dlq_of(FACTS), FACT),
        (dlq_of(RECEIPTS), ANSWER),
    ],
)
def test_a_shape_on_another_topic_is_kept_and_not_believed(topic: str, shape: Fact | Receipt) -> None:
    found = leaf_from(topic, shape)
    assert found is not None
    assert (found.type, orjson.loads(found.body)["data"]["reason"]) == (UNDECODABLE_TYPE, "unexpected_type")
    assert (found.member_ref, found.change_id, found.owed, found.answers) == (None, None, (), False)

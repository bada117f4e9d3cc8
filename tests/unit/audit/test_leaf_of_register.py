"""A register entry becomes a leaf as it was said; a restricted one leads to no member."""

import uuid
from datetime import UTC, datetime

import orjson
import pytest
from aiokafka import ConsumerRecord

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.receipts import REGISTER_TYPE, RegisterEntry
from schemas.topics import RECEIPTS
from services.audit import leaf

AT = datetime(2026, 11, 24, 3, tzinfo=UTC)
MEMBER, SUBJECT, ENTRY = (str(uuid.UUID(int=n)) for n in (1, 2, 3))


def a_record(entry: RegisterEntry, event_id: str | None = None) -> "ConsumerRecord[bytes, bytes]":
    envelope = Envelope(
        id=event_id or entry.entry_id,
        type=REGISTER_TYPE,
        source="/dongui/consent",
        subject=entry.key,
        sequence=1,
        previous=0,
        time=AT,
        dataschema="urn:dongui:register:v1",
        content_type="application/json",
    )
    headers = [(name, value.encode()) for name, value in to_headers(envelope).items()]
    value = codec.encode_clear(entry, envelope)
    return ConsumerRecord(RECEIPTS, 0, 7, 1, 0, entry.key.encode(), value, None, 0, len(value), headers)


@pytest.mark.parametrize(("kind", "member"), [("rights_request", MEMBER), ("restricted", None)])
def test_a_register_entry_is_a_leaf(kind: str, member: str | None) -> None:
    entry = RegisterEntry(
        entry_id=ENTRY,
        member_ref=member,
        kind=kind,
        subject=SUBJECT,
        state="decided",
        at=AT,
        actor="staff",
        codes={"outcome": "granted"},
    )
    found = leaf.of_record(a_record(entry))
    assert found is not None
    assert (found.event_id, found.type, found.member_ref, found.actor) == (ENTRY, REGISTER_TYPE, member, "staff")
    assert not found.answers
    body = orjson.loads(found.body)
    assert body["data"]["codes"] == {"outcome": "granted"}
    assert body["envelope"]["subject"] == (member or SUBJECT)


@pytest.mark.parametrize(
    "event_id",
    [
        "urn:uuid:0b7d9a52-54a3-4c7e-9d2f-7a1f0c7b3e11",
        "{0b7d9a52-54a3-4c7e-9d2f-7a1f0c7b3e11}",
        "0B7D9A52-54A3-4C7E-9D2F-7A1F0C7B3E11",
        "0b7d9a5254a34c7e9d2f7a1f0c7b3e11",
    ],
)
def test_an_event_id_in_another_spelling_is_undecodable(event_id: str) -> None:
    """Found in review: the database reads it as the same id, or not at all; either would stop the log for ever."""
    entry = RegisterEntry(entry_id=ENTRY, kind="restricted", subject=SUBJECT, state="decided", at=AT, actor="staff")
    found = leaf.of_record(a_record(entry, event_id))
    assert found is not None
    assert (found.type, orjson.loads(found.body)["data"]["reason"]) == (leaf.UNDECODABLE_TYPE, "invalid_field")

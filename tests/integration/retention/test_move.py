"""Separate keeping (7.2): a record moves by outbox, topic and receipt, once, with nothing the statute does not name."""

import asyncio
import uuid
from datetime import UTC, date, datetime
from typing import Any

import asyncpg
import orjson
import pytest

from schemas import codec
from schemas.receipts import Receipt
from schemas.topics import RECEIPTS, RETENTION, dlq_of
from services.consent import retained
from services.keyring import derive
from services.keyring.keyring import KeyDestroyedError
from services.runtime import kafka, outbox
from tests.integration.consent.harness import a_token, bearer
from tests.integration.retention.harness import OCCURRED, Pair

ORDER = {"class": "contract", "fields": {"order_no": "A-1", "amount": 12000, "address": "서울 종로구 1"}}
CASE = {"class": "dispute", "fields": {"ticket_id": "T-9", "result": "환불"}}


async def receipts(pair: Pair, ref: str) -> list[Receipt]:
    """Return what the retention process has answered about a member."""
    rows = await pair.parts.vault.pool.fetch(
        "SELECT payload FROM outbox WHERE aggregatetype = $1 AND aggregateid = $2 ORDER BY position", RECEIPTS, ref
    )
    found = [orjson.loads(row["payload"]) for row in rows]
    return [Receipt.model_validate(one) for one in found if one.get("recipient") == "retention"]


async def dead_letters(pair: Pair) -> list[dict[str, str]]:
    rows = await pair.parts.vault.pool.fetch(
        "SELECT headers FROM outbox WHERE aggregatetype = $1 ORDER BY position", dlq_of(RETENTION)
    )
    return [row["headers"] for row in rows]


async def test_records_move_with_their_party_and_consent_keeps_no_content(pair: Pair) -> None:
    email = f"m{uuid.uuid4().hex[:8]}@example.com"
    ref, ids = await pair.member_with(ORDER, CASE, email=email, name="김보존")
    await pair.leave(ref)
    assert await pair.hand_over(ref) == 2
    assert await pair.stages(ref) == ["retained", "retained"]
    async with pair.service.pool.acquire() as connection:
        assert not await retained.owing(connection, [ref])
        rows = await connection.fetch("SELECT sealed FROM statutory_record WHERE member_ref = $1", ref)
    assert [row["sealed"] for row in rows] == [None, None]
    found = {one["record_id"]: one for one in (await pair.read(ref)).json()["records"]}
    assert found.keys() == set(ids)
    contract, dispute = found[ids[0]], found[ids[1]]
    assert contract["party"] == {"name": "김보존", "email": email, "address": "서울 종로구 1"}
    assert contract["fields"] == {"order_no": "A-1", "amount": "12000"}
    assert dispute["fields"] == {"ticket_id": "T-9", "result": "환불"}
    # 3 years from 2026-10-01: Monday 2029-10-01. 5 years: 2031-10-01, which is Chuseok; with 개천절 and the weekend the
    # next working day is Monday 2031-10-06.
    assert (contract["destroy_on"], dispute["destroy_on"]) == ("2031-10-07", "2029-10-02")


async def test_a_member_without_records_has_all_of_them_retained(pair: Pair) -> None:
    ref, _ = await pair.member_with()
    await pair.leave(ref)
    assert await pair.hand_over(ref) == 0
    async with pair.service.pool.acquire() as connection:
        assert not await retained.owing(connection, [ref])


async def test_until_the_answer_is_here_nothing_counts_as_retained(pair: Pair) -> None:
    ref, _ = await pair.member_with(ORDER)
    await pair.leave(ref)
    async with pair.service.pool.acquire() as connection:
        assert await retained.owing(connection, [ref])
        async with connection.transaction():
            await retained.hand_over(pair.service.consent, connection, ref)
            assert await retained.owing(connection, [ref])
    pair.service.consent.nudge()
    await pair.stages(ref)


async def test_handing_over_again_and_a_replay_of_the_topic_move_and_answer_once(pair: Pair) -> None:
    ref, (record_id,) = await pair.member_with(ORDER)
    await pair.moved(ref)
    assert await pair.hand_over(ref) == 0
    owner = await asyncpg.connect(pair.databases.owner_dsn("consent"))
    try:
        await owner.execute("UPDATE outbox SET published_at = NULL WHERE id = $1", uuid.UUID(record_id))
    finally:
        await owner.close()
    pair.service.consent.nudge()
    marker, _ = await pair.member_with(CASE)
    await pair.moved(marker)
    assert len(await on_topic(pair, record_id)) == 2
    assert len((await pair.read(ref)).json()["records"]) == 1
    assert [(r.record_id, r.stage) for r in await receipts(pair, ref)] == [(record_id, "retained")]


async def on_topic(pair: Pair, record_id: str) -> list[Any]:
    found = await pair.service.records(RETENTION)
    return [r for r in found if dict(r.headers).get("ce_id") == record_id.encode()]


async def test_on_the_wire_a_record_is_sealed_and_names_only_the_pseudonym(pair: Pair) -> None:
    ref, (record_id,) = await pair.member_with(ORDER, name="이숨김")
    await pair.moved(ref)
    (raw,) = await on_topic(pair, record_id)
    whole = raw.key + raw.value + b"".join(value for _, value in raw.headers)
    assert "이숨김".encode() not in whole
    assert b"A-1" not in whole
    assert codec.kid_of(raw.value) == f"retention.{ref}.2"
    assert raw.key.decode() == ref


async def test_the_key_of_a_record_is_the_retention_processs_alone(pair: Pair) -> None:
    ref, _ = await pair.member_with(ORDER)
    await pair.service.consent.keyring.create(derive.handover_ref(ref))
    path = f"/v1/keys/retention.{ref}.2"
    for caller in (("notices", "notices"), ("tmax-os", "affiliate"), ("retention", "third_party")):
        assert (await pair.service.http.get(path, headers=bearer(a_token(*caller)))).status_code == 403
    mine = bearer(a_token("retention", "retention"))
    assert (await pair.service.http.get(path, headers=mine)).status_code == 200
    assert (await pair.service.http.get(f"/v1/keys/tmax-os.{ref}.1", headers=mine)).status_code == 403


async def test_a_record_outlives_the_members_key_on_its_way(pair: Pair) -> None:
    """What another law keeps is under a key of its own from the hand-over on, here and in transit (PIPA 21(1))."""
    ref, (record_id,) = await pair.member_with(ORDER, name="박보존")
    await pair.leave(ref)
    async with pair.service.pool.acquire() as connection, connection.transaction():
        await retained.hand_over(pair.service.consent, connection, ref)
        await pair.service.consent.keyring.shred(ref)
    waiting = (await pair.service.http.get(f"/v1/members/{ref}/records")).json()["records"]
    assert (waiting[0]["kept_in"], waiting[0]["party"]["name"]) == ("consent", "박보존")
    pair.service.consent.nudge()
    assert await pair.stages(ref) == ["retained"]
    found = (await pair.read(ref)).json()["records"]
    assert [(r["record_id"], r["party"]["name"]) for r in found] == [(record_id, "박보존")]


async def test_a_record_whose_key_was_shredded_is_answered_and_never_counts(pair: Pair) -> None:
    ref, (record_id,) = await pair.member_with(ORDER)
    await pair.leave(ref)
    async with pair.service.pool.acquire() as connection, connection.transaction():
        await retained.hand_over(pair.service.consent, connection, ref)
        await retained.end_handover(pair.service.consent, [ref])
    pair.service.consent.nudge()
    assert await pair.stages(ref) == ["skipped_destroyed"]
    assert [(r.record_id, r.reason) for r in await receipts(pair, ref)] == [(record_id, "key_destroyed")]
    async with pair.service.pool.acquire() as connection:
        assert await retained.owing(connection, [ref])
    assert (await pair.read(ref)).json()["records"] == []


async def test_without_the_key_nothing_is_handed_over(pair: Pair) -> None:
    ref, _ = await pair.member_with(ORDER)
    await pair.leave(ref)
    await pair.service.consent.keyring.shred(ref)
    with pytest.raises(KeyDestroyedError):
        await pair.hand_over(ref)


async def test_a_record_with_more_than_its_class_allows_is_refused_again_at_the_door(pair: Pair) -> None:
    """As if the consent service had let a birth date through."""
    ref, (record_id,) = await pair.member_with(CASE)
    await pair.leave(ref)
    data_key = await pair.service.consent.keyring.data_key(ref)
    async with pair.service.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow("SELECT * FROM statutory_record WHERE record_id = $1", record_id)
        change = await connection.fetchrow(
            "SELECT change_id, seq FROM change WHERE member_ref = $1 ORDER BY seq DESC LIMIT 1", ref
        )
        shape = retained._opened(row, ref, change, data_key)
        bad = shape.model_copy(update={"fields": {**shape.fields, "birth_date": "1990-01-01"}})
        own_key = await pair.service.consent.keyring.create(derive.handover_ref(ref))
        await outbox.append(connection, [retained._carrier(bad, own_key, datetime.now(UTC))])
    pair.service.consent.nudge()
    assert await pair.stages(ref) == ["refused"]
    letter = next(h for h in await dead_letters(pair) if h.get("ce_id") == record_id)
    assert letter["dongui-error"] == "field_not_allowed"
    assert (await pair.read(ref)).json()["records"] == []


async def test_poison_goes_to_the_dead_letters_and_its_neighbours_are_kept(pair: Pair) -> None:
    before = len(await dead_letters(pair))
    producer = await kafka.producer(pair.service.settings)
    try:
        for value in (b"", b"{}", b"\xff" * 40):
            await producer.send_and_wait(pair.service.settings.topic_prefix + RETENTION, value, key=b"x")
    finally:
        await producer.stop()
    ref, _ = await pair.member_with(ORDER)
    await pair.moved(ref)
    async with asyncio.timeout(20):
        while len(await dead_letters(pair)) < before + 3:
            await asyncio.sleep(0.05)
    assert {h["dongui-error"] for h in (await dead_letters(pair))[before:]} == {"bad_headers"}


async def test_an_old_record_is_destroyed_here_and_not_moved(pair: Pair) -> None:
    ref, (visit,) = await pair.member_with({"class": "visit", "fields": {"ip": "192.0.2.7"}})
    owner = await asyncpg.connect(pair.databases.owner_dsn("consent"))
    try:
        await owner.execute("UPDATE statutory_record SET destroy_on = $1 WHERE member_ref = $2", date(2020, 1, 1), ref)
    finally:
        await owner.close()
    await pair.leave(ref)
    assert await pair.hand_over(ref) == 0
    assert await pair.stages(ref) == []
    entries = [
        orjson.loads(r["payload"])
        for r in await pair.service.pool.fetch("SELECT payload FROM outbox")
        if b"retention_destroyed" in r["payload"]
    ]
    told = next(e for e in entries if e["subject"] == visit)
    assert (told["state"], told["codes"]["place"], told["codes"]["class"]) == ("destroyed", "consent", "visit")


def test_the_sample_lies_in_the_past() -> None:
    assert datetime.fromisoformat(OCCURRED) < datetime.now(UTC)

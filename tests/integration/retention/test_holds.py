"""One legal hold pauses both: the destruction of a member in consent, and of the records in the retention database."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from schemas.receipts import RegisterEntry
from schemas.topics import RECEIPTS
from services.consent import retained
from services.consent.erasure import saga
from services.retention import sweep
from services.runtime import kafka
from services.runtime.clock import KST
from services.runtime.register_record import carrier
from tests.integration.consent.harness import a_token, bearer
from tests.integration.consent.test_progress import a_receipt, send, shown_when
from tests.integration.retention.harness import Pair

CASE = {"class": "dispute", "fields": {"ticket_id": "T-9"}}
DAY_AFTER = datetime(2029, 10, 2, 0, 0, tzinfo=KST)
OFFICER = bearer(a_token("officer-1", "compliance"))


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await check():
            await asyncio.sleep(0.05)


async def case_of(pair: Pair, ref: str) -> dict[str, Any]:
    return dict((await pair.service.http.get(f"/v1/erasures/{ref}")).json())


async def held_here(pair: Pair, ref: str) -> int:
    """Return how many holds on a member stand in the retention database."""
    return int(await pair.parts.vault.pool.fetchval("SELECT count(*) FROM hold WHERE member_ref = $1", ref))


async def in_consent(pair: Pair, ref: str, *, held: bool) -> None:
    async def as_wanted() -> bool:
        return bool((await case_of(pair, ref)).get("held") is held)

    await until(as_wanted)


async def in_retention(pair: Pair, ref: str, number: int) -> None:
    async def as_wanted() -> bool:
        return await held_here(pair, ref) == number

    await until(as_wanted)


async def ahead(pair: Pair, ref: str, number: int) -> None:
    async def as_wanted() -> bool:
        query = "SELECT count(*) FROM hold_ahead WHERE member_ref = $1"
        return bool(await pair.service.pool.fetchval(query, ref) == number)

    await until(as_wanted)


async def put(pair: Pair, ref: str, reason: str = "file-2026-7") -> None:
    answer = await pair.http.put(f"/v1/retention/holds/{ref}", json={"reason": reason}, headers=OFFICER)
    assert answer.status_code == 204, answer.text


async def lifted(pair: Pair, ref: str) -> None:
    assert (await pair.http.delete(f"/v1/retention/holds/{ref}", headers=OFFICER)).status_code == 204


async def verb(pair: Pair, ref: str, name: str, body: Any = None) -> None:
    answer = await pair.service.post(f"/v1/erasures/{ref}/{name}", body, headers=OFFICER)
    assert answer.is_success, answer.text


async def is_kept(pair: Pair, record_id: str) -> bool:
    return bool(await pair.parts.vault.pool.fetchval("SELECT 1 FROM kept_record WHERE record_id = $1", record_id))


async def destroyed_in_consent(pair: Pair, ref: str) -> int:
    async with pair.service.pool.acquire() as connection, connection.transaction():
        return await retained.destroy_expired(connection, DAY_AFTER, member_ref=ref)


async def scheduled(pair: Pair, record_id: str) -> dict[str, Any]:
    answer = await pair.service.http.get("/v1/records/schedule", params={"until": "2029-12-31"}, headers=OFFICER)
    return next(dict(one) for one in answer.json()["records"] if one["record_id"] == record_id)


async def test_a_hold_on_a_destruction_keeps_the_records_too_and_its_lift_lets_both_run(pair: Pair) -> None:
    ref, (record_id,) = await pair.member_with(CASE)
    await pair.moved(ref)
    await verb(pair, ref, "hold", {"reason": "litigation"})
    await in_retention(pair, ref, 1)
    await sweep.look(pair.parts.vault.pool, DAY_AFTER)
    assert await is_kept(pair, record_id)
    await verb(pair, ref, "lift")
    await in_retention(pair, ref, 0)
    await sweep.look(pair.parts.vault.pool, DAY_AFTER)
    assert not await is_kept(pair, record_id)


async def test_a_hold_on_the_records_pauses_the_destruction_and_its_lift_gives_the_law_its_days_again(
    pair: Pair,
) -> None:
    ref, _ = await pair.member_with(CASE)
    await pair.leave(ref)
    before = await case_of(pair, ref)
    await put(pair, ref)
    await in_consent(pair, ref, held=True)
    held = await case_of(pair, ref)
    assert (held["hold_reason"], held["held_by"]) == ("file-2026-7", "retention")
    refused = await pair.service.post(f"/v1/erasures/{ref}/execute", None)
    assert refused.json()["code"] == "erasure_held"
    await lifted(pair, ref)
    await in_consent(pair, ref, held=False)
    duties = await pair.service.pool.fetch(
        "SELECT outcome FROM duty WHERE kind = 'destruction' AND member_ref = $1 ORDER BY position", ref
    )
    assert [row["outcome"] for row in duties] == ["held", None]
    after = await case_of(pair, ref)
    assert after["due_on"] >= before["due_on"]
    assert (await pair.service.post(f"/v1/erasures/{ref}/execute", None)).status_code == 202
    await saga.look(pair.service.consent)
    assert (await case_of(pair, ref))["state"] in {"executing", "erased"}


async def test_a_hold_before_the_withdrawal_pauses_the_destruction_from_its_selection_on(pair: Pair) -> None:
    ref, _ = await pair.member_with(CASE)
    await put(pair, ref)
    await ahead(pair, ref, 1)
    await pair.leave(ref)
    assert (await case_of(pair, ref))["held"] is True
    await lifted(pair, ref)
    await in_consent(pair, ref, held=False)


async def test_a_hold_keeps_the_records_of_a_member_who_is_still_here(pair: Pair) -> None:
    ref, (record_id,) = await pair.member_with(CASE)
    await put(pair, ref)
    await ahead(pair, ref, 1)
    assert await destroyed_in_consent(pair, ref) == 0
    assert (await scheduled(pair, record_id))["held"] is True
    await lifted(pair, ref)
    await ahead(pair, ref, 0)
    assert (await scheduled(pair, record_id))["held"] is False
    assert await destroyed_in_consent(pair, ref) == 1


async def test_a_hold_on_a_destruction_keeps_the_records_that_have_not_moved_yet(pair: Pair) -> None:
    ref, (record_id,) = await pair.member_with(CASE)
    await pair.leave(ref)
    await verb(pair, ref, "hold", {"reason": "litigation"})
    assert await destroyed_in_consent(pair, ref) == 0
    assert (await scheduled(pair, record_id))["held"] is True
    await verb(pair, ref, "lift")
    assert await destroyed_in_consent(pair, ref) == 1


async def test_a_hold_keeps_the_records_that_outlived_their_member_and_have_not_arrived(pair: Pair) -> None:
    """Shredded at the law's limit with a record still owed: the record alone can be held."""
    ref, _ = await pair.member_with(CASE)
    await pair.leave(ref)
    await pair.service.pool.execute("UPDATE erasure SET state = 'erased' WHERE member_ref = $1", ref)
    await put(pair, ref)
    await ahead(pair, ref, 1)
    assert await destroyed_in_consent(pair, ref) == 0
    await lifted(pair, ref)
    await ahead(pair, ref, 0)
    assert await destroyed_in_consent(pair, ref) == 1


async def test_two_holds_are_two_and_a_lift_in_either_place_ends_what_it_knows(pair: Pair) -> None:
    ref, _ = await pair.member_with(CASE)
    await pair.leave(ref)
    await put(pair, ref)
    await in_consent(pair, ref, held=True)
    await lifted(pair, ref)
    await in_consent(pair, ref, held=False)
    await verb(pair, ref, "hold", {"reason": "dispute"})
    await in_retention(pair, ref, 1)
    await put(pair, ref)
    await in_retention(pair, ref, 2)
    await lifted(pair, ref)
    await in_retention(pair, ref, 0)
    await in_consent(pair, ref, held=False)


async def test_each_step_is_in_the_log_with_its_reason_and_place(pair: Pair) -> None:
    ref, _ = await pair.member_with(CASE)
    await pair.leave(ref)
    await verb(pair, ref, "hold", {"reason": "investigation"})
    await verb(pair, ref, "lift")
    rows = await pair.service.pool.fetch(
        "SELECT payload FROM outbox WHERE aggregateid = $1 AND payload LIKE '%legal_hold%'::bytea ORDER BY position",
        ref,
    )
    assert len(rows) == 2
    assert b'"investigation"' in rows[0]["payload"]


def a_step(place: str, member_ref: str | None, state: str = "held", **changes: Any) -> RegisterEntry:
    """A step of a hold as `place` tells it; `reason` None leaves it out."""
    reason = changes.get("reason", "file-2026-7")
    return RegisterEntry(
        entry_id=str(uuid.uuid4()),
        member_ref=member_ref,
        kind="legal_hold",
        subject=changes.get("hold_id", str(uuid.uuid4())),
        state=state,
        at=datetime.now(UTC),
        actor="staff",
        codes={"place": place} | ({"reason": reason} if reason else {}),
    )


async def said(pair: Pair, ref: str, *entries: RegisterEntry) -> None:
    """Publish entries as any writer to the receipts topic could, on the partition of a member."""
    producer = await kafka.producer(pair.service.settings)
    try:
        for entry in entries:
            record = carrier(entry, "/dongui/propagator/test")
            headers = [(name, text.encode()) for name, text in record.headers.items()]
            topic = pair.service.settings.topic_prefix + RECEIPTS
            await producer.send_and_wait(topic, value=record.payload, key=ref.encode(), headers=headers)
    finally:
        await producer.stop()


async def hold_of(pair: Pair, ref: str) -> str:
    """Return the id of the hold on a member that was put in the retention database."""
    return str(await pair.parts.vault.pool.fetchval("SELECT hold_id FROM hold WHERE member_ref = $1", ref))


async def test_a_step_that_says_too_little_stops_neither_process(pair: Pair) -> None:
    made = await pair.service.sign_up()
    ref = str(made["member_ref"])
    for place in ("retention", "consent"):
        spoilt = [a_step(place, ref, reason=None), a_step(place, None), a_step(place, ref, "paused")]
        await said(pair, ref, *spoilt, a_step(place, None, "lifted"))
    await send(pair.service, a_receipt(made, "tmax-os"))
    await shown_when(pair.service, made["change_id"], **{"tmax-os": "applied"})
    await said(pair, ref, a_step("consent", ref))
    await in_retention(pair, ref, 1)
    await ahead(pair, ref, 0)


async def test_a_lift_that_names_another_member_ends_nothing_and_stops_nobody(pair: Pair) -> None:
    kept, other = [(await pair.member_with(CASE))[0] for _ in range(2)]
    for ref in (kept, other):
        await pair.leave(ref)
    await put(pair, kept)
    await in_consent(pair, kept, held=True)
    await said(pair, other, a_step("retention", other, "lifted", hold_id=await hold_of(pair, kept), reason=None))
    await put(pair, other)
    await in_consent(pair, other, held=True)
    assert (await case_of(pair, kept))["held"] is True


async def test_a_hold_is_on_one_member_whoever_says_its_id_again(pair: Pair) -> None:
    here, gone = [(await pair.member_with(CASE))[0] for _ in range(2)]
    await put(pair, here)
    await ahead(pair, here, 1)
    await pair.leave(gone)
    await said(pair, gone, a_step("retention", gone, hold_id=await hold_of(pair, here), reason="file-2026-8"))
    await put(pair, gone, "file-2026-9")
    await in_consent(pair, gone, held=True)
    assert (await case_of(pair, gone))["hold_reason"] == "file-2026-9"
    await pair.leave(here)
    assert (await case_of(pair, here))["held"] is True

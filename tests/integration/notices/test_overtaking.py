"""A newer correction overtakes an older one that failed: one notice goes, both changes are answered."""

from typing import Any

import pytest

from services.propagator.notices import answers
from services.runtime.settings import Settings
from tests.integration.notices.conftest import (
    PARTNER,
    KeyService,
    Sealed,
    ThirdParty,
    called_back,
    due_now,
    sealed_notice,
    sending,
    taken,
    until,
)

ATTEMPTS = "SELECT count(*) FROM attempt"
STATES = "SELECT array_agg(state ORDER BY seq) FROM notice"
RECEIPTS = "SELECT convert_from(payload, 'UTF8')::jsonb FROM outbox ORDER BY position"


async def _receipts(pool: Any) -> list[tuple[Any, ...]]:
    rows = [row[0] for row in await pool.fetch(RECEIPTS)]
    return [(r["change_id"], r["stage"], r["outcome"], r["superseded_by"]) for r in rows]


def _corrections(key_service: KeyService, *emails: str) -> list[Sealed]:
    """The same item of one member corrected again and again."""
    first = sealed_notice(key_service, seq=2, email=emails[0])
    more = [
        sealed_notice(key_service, seq=3 + i, email=email, member_ref=first.notice.member_ref)
        for i, email in enumerate(emails[1:])
    ]
    return [first, *more]


@pytest.mark.f(24)
async def test_after_a_failure_the_newer_one_goes_at_once_and_answers_for_both(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    older, newer = _corrections(key_service, "first@example.kr", "second@example.kr")
    await partner.behave({"status": 500, "times": 1})
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(older))
        await until(parts.pool, ATTEMPTS, 1)
        await parts.ingest.apply(taken(newer, first_offset=1))
        await until(parts.pool, STATES, ["superseded", "acknowledged"])
        await due_now(parts)
        told = await partner.until(2)
        assert await _receipts(parts.pool) == [
            (older.notice.change_id, "superseded", None, newer.notice.change_id),
            (newer.notice.change_id, "applied", "corrected", None),
            (older.notice.change_id, "superseded", "corrected", newer.notice.change_id),
        ]
    assert [t["webhook_id"] for t in told] == [older.notice.notice_id, newer.notice.notice_id]
    assert told[1]["message"]["data"]["values"] == {"email": "second@example.kr"}


@pytest.mark.f(24)
async def test_without_a_failure_each_is_told(settings: Settings, partner: ThirdParty, key_service: KeyService) -> None:
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(*_corrections(key_service, "a@example.kr", "b@example.kr", "c@example.kr")))
        await until(parts.pool, STATES, ["acknowledged"] * 3)
    assert [t["message"]["data"]["sequence"] for t in await partner.until(3)] == [2, 3, 4]


async def test_an_overtaken_change_is_answered_only_when_the_newest_one_is(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    """A chain: the second overtakes the first and fails too; the third overtakes the second."""
    first, second, third = _corrections(key_service, "a@example.kr", "b@example.kr", "c@example.kr")
    await partner.behave(
        {"status": 500, "times": 2}, {"answer": {"outcome": "refused", "reason": "law.keeps_it"}, "times": 1}
    )
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(first))
        await until(parts.pool, ATTEMPTS, 1)
        await parts.ingest.apply(taken(second, first_offset=1))
        await until(parts.pool, ATTEMPTS, 2)
        assert await parts.pool.fetchval(STATES) == ["overtaken", "pending"]
        assert await parts.pool.fetchval("SELECT closed_at FROM notice WHERE seq = 2") is None
        await parts.ingest.apply(taken(third, first_offset=2))
        await until(parts.pool, STATES, ["superseded", "superseded", "acknowledged"])
        said = await _receipts(parts.pool)
        reasons = await parts.pool.fetch("SELECT reason, outcome FROM notice ORDER BY seq")
    assert sorted(said[-2:]) == sorted(
        [
            (first.notice.change_id, "superseded", "refused", second.notice.change_id),
            (second.notice.change_id, "superseded", "refused", third.notice.change_id),
        ]
    )
    assert [tuple(row) for row in reasons] == [("law.keeps_it", "refused")] * 3
    await partner.until(3)


async def test_a_callback_about_the_newer_one_answers_for_the_older(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    older, newer = _corrections(key_service, "first@example.kr", "second@example.kr")
    await partner.behave({"status": 500, "times": 1}, {"status": 202, "answer": None})
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(older))
        await until(parts.pool, ATTEMPTS, 1)
        await parts.ingest.apply(taken(newer, first_offset=1))
        await until(parts.pool, STATES, ["overtaken", "delivered"])
        async with parts.pool.acquire() as connection, connection.transaction():
            await answers.record(connection, [called_back(newer)])
        assert await parts.pool.fetchval(STATES) == ["superseded", "acknowledged"]
        assert (await _receipts(parts.pool))[-1] == (
            older.notice.change_id,
            "superseded",
            "not_held",
            newer.notice.change_id,
        )


async def test_the_older_ones_of_an_erased_member_end_with_the_newer(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    older, newer = _corrections(key_service, "first@example.kr", "second@example.kr")
    await partner.behave({"status": 500})
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(older))
        await until(parts.pool, ATTEMPTS, 1)
        await parts.ingest.apply(taken(newer, first_offset=1))
        await until(parts.pool, STATES, ["overtaken", "pending"])
        await until(parts.pool, ATTEMPTS, 2)
    key_service.destroyed.add(older.notice.member_ref)
    del key_service.data_keys[older.notice.member_ref]
    async with sending(settings) as parts:
        await due_now(parts)
        await until(parts.pool, STATES, ["skipped_destroyed", "skipped_destroyed"])
        stages = [stage for _, stage, _, _ in await _receipts(parts.pool)]
    assert stages == ["superseded", "skipped_destroyed", "skipped_destroyed"]


@pytest.mark.parametrize("channel", ["email", "post"])
async def test_who_has_no_server_is_left_to_staff_with_one_receipt(
    settings: Settings, partner: ThirdParty, key_service: KeyService, channel: str
) -> None:
    one = sealed_notice(key_service)
    manual = settings.model_copy(update={"third_parties": {PARTNER: {"channel": channel}}})
    async with sending(manual) as parts:
        await parts.ingest.apply(taken(one))
        await until(parts.pool, STATES, ["manual"])
        await due_now(parts)
        await until(parts.pool, "SELECT due_at > now() + interval '23 h' FROM notice", True)
        (said,) = [row[0] for row in await parts.pool.fetch(RECEIPTS)]
        assert (said["stage"], said["reason"], said["outcome"]) == ("manual", channel, None)
        async with parts.pool.acquire() as connection, connection.transaction():
            await answers.record(connection, [called_back(one)])
        assert await parts.pool.fetchval(STATES) == ["acknowledged"]
    assert await partner.received() == []


async def test_a_third_party_that_gets_a_server_is_told_what_staff_have_not_done(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    manual = settings.model_copy(update={"third_parties": {PARTNER: {"channel": "post"}}})
    async with sending(manual) as parts:
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        await until(parts.pool, STATES, ["manual"])
    async with sending(settings) as parts:
        await due_now(parts)
        await until(parts.pool, STATES, ["acknowledged"])
    await partner.until(1)

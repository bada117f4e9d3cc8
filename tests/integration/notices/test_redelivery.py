"""Notices sent again on somebody's word, and the log of what was sent, through the command line."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from services import cli
from services.propagator.notices import store
from services.propagator.notices.app import Parts
from services.propagator.notices.store import Answer
from services.runtime.clock import utc_now
from services.runtime.settings import Settings
from tests.integration.notices.conftest import (
    PARTNER,
    KeyService,
    ThirdParty,
    due_now,
    sealed_notice,
    sending,
    taken,
    until,
)

ANSWERED = "SELECT count(*) FROM notice WHERE state = 'acknowledged'"
RECEIPTS = "SELECT count(*) FROM outbox WHERE type = 'kr.dongui.receipt.v1'"


class CommandLine:
    """`dongui notice …` on this test's database."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DONGUI_DATA_DIR", str(settings.data_dir))
        monkeypatch.setenv("DONGUI_NOTICES_DSN", settings.secret("notices_dsn"))

    async def __call__(self, *arguments: str) -> Result:
        words = ["notice", *arguments]
        return await asyncio.to_thread(CliRunner().invoke, cli.build(words), words)

    async def json(self, *arguments: str) -> Any:
        done = await self(*arguments, "--format", "json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


@pytest.fixture
def dongui(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(settings, monkeypatch)


WORD = ("--as", "sre-kim", "--reason", "ticket-118")


async def test_answered_notices_go_again_by_id_by_third_party_and_by_time(
    settings: Settings, partner: ThirdParty, key_service: KeyService, dongui: CommandLine
) -> None:
    first, second, destroyed = (sealed_notice(key_service) for _ in range(3))
    del key_service.data_keys[destroyed.notice.member_ref]
    key_service.destroyed.add(destroyed.notice.member_ref)
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(first, second, destroyed))
        await until(parts.pool, "SELECT count(*) FROM notice WHERE closed_at IS NOT NULL", 3)
        receipts = await parts.pool.fetchval(RECEIPTS)

        planned = await dongui.json("redeliver", *WORD, "--recipient", PARTNER, "--dry-run")
        assert planned == {"redelivery_id": None, "notices": 2, "skipped": {"skipped_destroyed": 1}}
        await asyncio.sleep(0.5)
        await partner.until(2)

        made = await dongui.json("redeliver", *WORD, "--id", first.notice.notice_id)
        assert (made["notices"], made["skipped"]) == (1, {})
        await _answered_again(parts, partner, 3)
        by_change = await dongui.json("redeliver", *WORD, "--id", second.notice.change_id, "--recipient", PARTNER)
        assert by_change["notices"] == 1
        await _answered_again(parts, partner, 4)
        await dongui.json("redeliver", *WORD, "--from", "2026-01-01T00:00:00+09:00")
        await _answered_again(parts, partner, 6)
        nobody = await dongui.json("redeliver", *WORD, "--from", "2026-01-01T00:00:00Z", "--recipient", "nobody")
        assert nobody["notices"] == 0

        told = await partner.received()
        assert [t["message"] for t in told if t["webhook_id"] == first.notice.notice_id] == [told[0]["message"]] * 3
        assert await parts.pool.fetchval(RECEIPTS) == receipts, "the same answer is no news"
        row = await parts.pool.fetchrow("SELECT * FROM redelivery ORDER BY asked_at LIMIT 1")
        assert (row["asked_by"], row["reason"], row["selection"]["ids"]) == (
            "sre-kim",
            "ticket-118",
            [first.notice.notice_id],
        )
        entries = await parts.pool.fetch(
            "SELECT convert_from(payload, 'UTF8')::jsonb AS said FROM outbox WHERE type = 'kr.dongui.register.v1' "
            "ORDER BY position"
        )
    assert [e["said"]["codes"]["notices"] for e in entries] == ["1", "1", "2", "0"]
    assert {e["said"]["codes"]["by"] for e in entries} == {"sre-kim"}


async def _answered_again(parts: Parts, partner: ThirdParty, count: int) -> None:
    await partner.until(count)
    await until(parts.pool, ANSWERED, 2)


async def test_the_log_shows_attempts_and_answers_without_a_value(
    settings: Settings, partner: ThirdParty, key_service: KeyService, dongui: CommandLine
) -> None:
    """A receiver that fails, then talks nonsense, then answers for another notice, then for this one."""
    canary = "canary-51c2@example.kr"
    one, other = sealed_notice(key_service, email=canary), sealed_notice(key_service, recipient="nobody-yet")
    await partner.behave(
        {"status": 500, "answer": None, "times": 1},
        {"answer": {"text": canary}, "times": 1},
        {"answer": {"outcome": "corrected", "notice_id": other.notice.notice_id}, "times": 1},
        {"answer": {"outcome": "refused", "reason": canary}, "times": 1},
    )
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(one, other))
        for attempts in (1, 2, 3, 4):
            await until(parts.pool, "SELECT count(*) FROM attempt", attempts)
            await parts.pool.execute("UPDATE notice SET due_at = now() WHERE recipient = $1", PARTNER)
        await until(parts.pool, ANSWERED, 1)
    found = await dongui.json("log", "--id", one.notice.notice_id)
    (notice,) = found["notices"]
    assert (notice["change_id"], notice["state"], notice["outcome"]) == (
        one.notice.change_id,
        "acknowledged",
        "refused",
    )
    assert notice["body"]["data"]["values"] == {"email": "***"}
    assert [attempt["status"] for attempt in notice["log"]] == [500, 200, 200, 200]
    answers = [attempt["answer"] for attempt in notice["log"]]
    assert [set(answer) for answer in answers] == [{"bytes"}, {"bytes"}, {"bytes"}, {"outcome"}]
    everything = await dongui.json("log")
    assert [n["recipient"] for n in everything["notices"]] == [PARTNER, "nobody-yet"]
    assert (everything["notices"][1]["body"], everything["notices"][1]["log"]) == (None, [])
    assert [n["recipient"] for n in (await dongui.json("log", "--state", "pending"))["notices"]] == ["nobody-yet"]
    assert canary not in json.dumps([found, everything])
    shown = await dongui("log", "--id", one.notice.change_id)
    assert "acknowledged" in shown.stdout
    assert canary not in shown.output


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("redeliver", *WORD), "say which notices"),
        (("redeliver", *WORD, "--id", "haneul@example.kr"), "--id"),
        (("redeliver", *WORD, "--from", "yesterday"), "--from"),
        (("redeliver", *WORD, "--from", "2026-11-24T00:00:00"), "offset"),
        (("redeliver", "--as", "김하늘 님", "--reason", "x", "--recipient", "p"), "--as"),
        (("log", "--state", "no such"), "--state"),
    ],
)
async def test_what_cannot_be_is_a_usage_error_that_names_the_option(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], named: str
) -> None:
    monkeypatch.setenv("DONGUI_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DONGUI_NOTICES_DSN", "postgresql://nobody@127.0.0.1:1/none")
    words = ["notice", *arguments]
    done = await asyncio.to_thread(CliRunner().invoke, cli.build(words), words)
    assert (done.exit_code, named in done.output) == (2, True), done.output


async def test_a_redelivered_notice_waits_for_its_own_answer_and_an_old_statement_is_no_news(
    settings: Settings, partner: ThirdParty, key_service: KeyService, dongui: CommandLine
) -> None:
    """Found in review: another's answer to the same change closed it by the old one, and it was never sent."""
    notice = sealed_notice(key_service)
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(notice))
        await until(parts.pool, "SELECT count(*) FROM notice WHERE closed_at IS NOT NULL", 1)
        told = await parts.pool.fetchrow("SELECT change_id, recipient, closed_at FROM notice")
        first = Answer(told["change_id"], told["recipient"], "applied", "corrected", None, told["closed_at"])
        async with parts.pool.acquire() as tx:
            await store.answered(tx, [first])
        await partner.behave({"status": 500, "answer": None, "times": 1})
        await dongui.json("redeliver", *WORD, "--id", notice.notice.notice_id)
        async with parts.pool.acquire() as tx:
            assert await store.answered(tx, [replace(first, recipient="somebody-else")]) == []
            assert await store.answered(tx, [first]) == [], "nor does its own answer from before, told again"
        assert await parts.pool.fetchval("SELECT state FROM notice") == "pending"
        later = replace(first, outcome="not_held", at=told["closed_at"] + timedelta(minutes=1))
        async with parts.pool.acquire() as tx:
            ((_, end),) = await store.answered(tx, [later])
        assert (end.state, end.outcome) == ("acknowledged", "not_held")


async def _answered_elsewhere(parts: Parts) -> None:
    """Let the receipts topic tell what was said at the consent service, by the third party or for it."""
    told = await parts.pool.fetchrow("SELECT change_id, recipient FROM notice")
    said = Answer(told["change_id"], told["recipient"], "applied", "not_held", "deleted_before", utc_now())
    async with parts.pool.acquire() as tx, tx.transaction():
        ((_, end),) = await store.answered(tx, [said])
    assert end.state == "acknowledged"


async def test_a_redelivered_notice_that_arrives_ends_with_the_answer_that_was_called_back(
    settings: Settings, partner: ThirdParty, key_service: KeyService, dongui: CommandLine
) -> None:
    """Found in review: the consent service takes an answer once, no second receipt came, it was sent for ever."""
    await partner.behave(
        {"status": 202, "answer": None, "times": 1},
        {"status": 500, "answer": None, "times": 1},
        {"status": 202, "answer": None},
    )
    notice = sealed_notice(key_service)
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(notice))
        await until(parts.pool, "SELECT state FROM notice", "delivered")
        await _answered_elsewhere(parts)
        made = await dongui.json("redeliver", *WORD, "--id", notice.notice.notice_id)
        assert made["notices"] == 1
        await until(parts.pool, "SELECT count(*) FROM attempt", 2)
        assert await parts.pool.fetchval("SELECT state FROM notice") == "pending", "it has not arrived yet"
        await due_now(parts)
        await until(parts.pool, ANSWERED, 1)
        row = await parts.pool.fetchrow("SELECT outcome, reason, attempts, lease FROM notice")
        assert tuple(row) == ("not_held", "deleted_before", 2, None)
        assert await parts.pool.fetchval(RECEIPTS) == 0, "nothing new was said"
        await due_now(parts)
        await asyncio.sleep(0.5)
    told = await partner.until(3)
    assert {t["webhook_id"] for t in told} == {notice.notice.notice_id}


async def test_an_unanswered_notice_that_is_redelivered_waits_for_its_answer(
    settings: Settings, partner: ThirdParty, key_service: KeyService, dongui: CommandLine
) -> None:
    await partner.behave({"status": 202, "answer": None})
    notice = sealed_notice(key_service)
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(notice))
        await until(parts.pool, "SELECT state FROM notice", "delivered")
        await dongui.json("redeliver", *WORD, "--id", notice.notice.notice_id)
        await until(parts.pool, "SELECT count(*) FROM attempt", 2)
        assert await parts.pool.fetchval("SELECT state FROM notice") == "delivered"
        await _answered_elsewhere(parts)


async def test_what_staff_tell_is_not_sent_again_and_ends_as_it_was_answered_if_somebody_tries(
    settings: Settings, key_service: KeyService, dongui: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in review: it waited for staff again, whom no duty told, and who were refused when they entered it."""
    by_hand = {PARTNER: {"channel": "post"}}
    notice = sealed_notice(key_service)
    async with sending(settings.model_copy(update={"third_parties": by_hand})) as parts:
        await parts.ingest.apply(taken(notice))
        await until(parts.pool, "SELECT state FROM notice", "manual")
        await _answered_elsewhere(parts)

        monkeypatch.setenv("DONGUI_THIRD_PARTIES", json.dumps(by_hand))
        refused = await dongui("redeliver", *WORD, "--recipient", PARTNER)
        assert (refused.exit_code, f"staff tell {PARTNER} by e-mail or post" in refused.output) == (2, True)
        planned = await dongui.json("redeliver", *WORD, "--id", notice.notice.change_id, "--dry-run")
        assert planned == {"redelivery_id": None, "notices": 0, "skipped": {"told_by_staff": 1}}
        made = await dongui.json("redeliver", *WORD, "--from", "2026-01-01T00:00:00Z")
        assert (made["notices"], made["skipped"]) == (0, {"told_by_staff": 1})
        assert await parts.pool.fetchval("SELECT again_at FROM notice") is None

        monkeypatch.delenv("DONGUI_THIRD_PARTIES")
        unknowing = await dongui.json("redeliver", *WORD, "--id", notice.notice.change_id)
        assert unknowing["notices"] == 1
        await until(parts.pool, ANSWERED, 1)
        assert await parts.pool.fetchval("SELECT outcome FROM notice") == "not_held"
        assert await parts.pool.fetchval(RECEIPTS) == 1, "that staff tell it was said the first time"


async def test_the_same_answer_is_no_news_after_the_outbox_has_forgotten_it(
    settings: Settings, partner: ThirdParty, key_service: KeyService, dongui: CommandLine, databases: Any
) -> None:
    notice = sealed_notice(key_service)
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(notice))
        await until(parts.pool, ANSWERED, 1)
        owner = await asyncpg.connect(databases.owner_dsn("notices"))
        try:
            await owner.execute("DELETE FROM outbox")
        finally:
            await owner.close()
        await dongui.json("redeliver", *WORD, "--id", notice.notice.notice_id)
        await partner.until(2)
        await until(parts.pool, ANSWERED, 1)
        assert await parts.pool.fetchval(RECEIPTS) == 0

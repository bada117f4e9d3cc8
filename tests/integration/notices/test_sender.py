"""Sending: a real database, a real HTTP receiver in another process, every way in which it can answer."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from services.propagator.notices import app, desk, schedule, store
from services.propagator.notices.app import Parts
from services.runtime.clock import utc_now
from services.runtime.settings import Settings
from tests.integration.notices.conftest import (
    PARTNER,
    SECRET,
    KeyService,
    ThirdParty,
    due_now,
    sealed_notice,
    sending,
    taken,
    until,
)

STATE = "SELECT state FROM notice"
ATTEMPTS = "SELECT count(*) FROM attempt"
OUTBOX = "SELECT convert_from(payload, 'UTF8')::jsonb FROM outbox ORDER BY position"


async def _wait_s(parts: Parts) -> float:
    """The seconds between the last attempt and the next."""
    found = await parts.pool.fetchval(
        "SELECT extract(epoch FROM n.due_at - a.at)::float8 FROM notice n JOIN attempt a USING (position) "
        "ORDER BY a.attempt_id DESC LIMIT 1"
    )
    return float(found)


async def test_a_notice_is_told_signed_and_acknowledged(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    one = sealed_notice(key_service, email="바다@example.kr")
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(one))
        await until(parts.pool, STATE, "acknowledged")
        (receipt,) = [row[0] for row in await parts.pool.fetch(OUTBOX)]
    (told,) = await partner.received()
    assert told["webhook_id"] == one.notice.notice_id
    assert told["message"]["data"]["values"] == {"email": "바다@example.kr"}
    assert told["message"]["data"]["change_id"] == one.notice.change_id
    assert receipt["change_id"] == one.notice.change_id
    assert (receipt["recipient"], receipt["kind"]) == (PARTNER, "third_party")
    assert (receipt["stage"], receipt["outcome"], receipt["seq"]) == ("applied", "corrected", 2)


async def test_a_value_that_is_withheld_is_not_sent_but_where_to_pull_it_from(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    one = sealed_notice(key_service, email="바다@example.kr", name="바다", withheld=("email",))
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(one))
        await until(parts.pool, STATE, "acknowledged")
    (told,) = await partner.received()
    data = told["message"]["data"]
    assert (data["items"], data["values"], data["withheld"]) == (["email", "name"], {"name": "바다"}, ["email"])
    assert data["pull"] == f"/v1/notices/{one.notice.notice_id}"
    assert "바다@" not in str(told)


@pytest.mark.parametrize(
    ("answer", "stage", "outcome", "reason"),
    [
        ({"outcome": "not_held"}, "applied", "not_held", None),
        ({"outcome": "refused", "reason": "law.keeps_it"}, "refused", "refused", "law.keeps_it"),
        ({"outcome": "refused", "reason": "김하늘 님"}, "refused", "refused", None),
    ],
)
async def test_every_outcome_ends_the_asking(
    settings: Settings,
    partner: ThirdParty,
    key_service: KeyService,
    answer: dict[str, str],
    stage: str,
    outcome: str,
    reason: str | None,
) -> None:
    await partner.behave({"answer": answer})
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        await until(parts.pool, STATE, "acknowledged")
        (receipt,) = [row[0] for row in await parts.pool.fetch(OUTBOX)]
    assert (receipt["stage"], receipt["outcome"], receipt["reason"]) == (stage, outcome, reason)


@pytest.mark.f(22)
async def test_after_500_the_same_notice_is_sent_again_under_the_same_id(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    await partner.behave({"status": 500, "times": 2})
    one = sealed_notice(key_service)
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(one))
        await until(parts.pool, ATTEMPTS, 1)
        assert await _wait_s(parts) == 5.0
        await due_now(parts)
        await until(parts.pool, ATTEMPTS, 2)
        assert await _wait_s(parts) == 300.0
        await asyncio.sleep(1.1)
        await due_now(parts)
        await until(parts.pool, STATE, "acknowledged")
        assert [r[0] for r in await parts.pool.fetch("SELECT status FROM attempt ORDER BY attempt_id")] == [
            500,
            500,
            200,
        ]
    told = await partner.until(3)
    assert {t["webhook_id"] for t in told} == {one.notice.notice_id}
    assert told[0]["message"] == told[2]["message"]
    assert told[2]["timestamp"] > told[0]["timestamp"]


@pytest.mark.f(22)
async def test_retry_after_is_honoured(settings: Settings, partner: ThirdParty, key_service: KeyService) -> None:
    await partner.behave({"status": 429, "headers": {"Retry-After": "97"}, "times": 1})
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        await until(parts.pool, ATTEMPTS, 1)
        assert await _wait_s(parts) == 97.0
        assert await parts.pool.fetchval(STATE) == "pending"


@pytest.mark.parametrize("header", ["Wed, 21 Oct 99999999999 07:28:00 GMT", "9" * 5000])
async def test_a_retry_after_that_says_nothing_is_a_failure_like_any_other(
    settings: Settings, partner: ThirdParty, key_service: KeyService, header: str
) -> None:
    """Found in review: its date was too large, nothing was recorded, and the notice went again every minute."""
    await partner.behave({"status": 500, "headers": {"Retry-After": header}, "times": 1})
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        await until(parts.pool, ATTEMPTS, 1)
        assert await _wait_s(parts) == (86_400.0 if header.isdigit() else 5.0)
        assert await parts.pool.fetchval("SELECT attempts FROM notice") == 1


@pytest.mark.parametrize(("status", "state"), [(503, "pending"), (200, "delivered")])
async def test_an_answer_that_cannot_be_read_is_on_record_and_waits_its_turn(
    settings: Settings,
    partner: ThirdParty,
    key_service: KeyService,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    state: str,
) -> None:
    """Whatever a reader of ours chokes on: the attempt counts, by its status, and the schedule goes on."""

    def chokes(text: str) -> None:
        raise RecursionError(text)

    monkeypatch.setattr(schedule, "parsedate_to_datetime", chokes)
    await partner.behave({"status": status, "answer": None, "headers": {"Retry-After": "soon"}})
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        await until(parts.pool, ATTEMPTS, 1)
        assert await _wait_s(parts) == 5.0
        row = await parts.pool.fetchrow("SELECT state, attempts, status, error FROM notice NATURAL JOIN attempt")
        assert tuple(row) == (state, 1, status, "RecursionError")
        await due_now(parts)
        await until(parts.pool, ATTEMPTS, 2)
        assert await _wait_s(parts) == 300.0


@pytest.mark.f(22)
async def test_a_receiver_that_is_too_slow_has_failed(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    await partner.behave({"delay_s": 3.0, "times": 1})
    async with sending(settings, timeout_s=0.5) as parts:
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        await until(parts.pool, "SELECT error FROM attempt", "TimeoutError")
        assert await parts.pool.fetchval("SELECT status IS NULL AND milliseconds BETWEEN 400 AND 2500 FROM attempt")
        await due_now(parts)
        await until(parts.pool, STATE, "acknowledged")
    told = await partner.until(2)
    assert told[0]["webhook_id"] == told[1]["webhook_id"]


@pytest.mark.f(22)
async def test_410_stops_the_endpoint_and_staff_are_told(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    await partner.behave({"status": 410, "times": 1})
    first, second = sealed_notice(key_service), sealed_notice(key_service)
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(first))
        await until(parts.pool, STATE, "disabled")
        await parts.ingest.apply(taken(second, first_offset=1))
        await asyncio.sleep(0.8)
        await partner.until(1)
        await desk.look(parts.pool, parts.endpoints, utc_now())
        assert await parts.pool.fetchval("SELECT count(*) FROM notice WHERE state = 'disabled'") == 2
        assert desk.DISABLED.labels(PARTNER)._value.get() == 1
        await parts.pool.execute("DELETE FROM disabled_endpoint")
        await until(parts.pool, "SELECT count(*) FROM notice WHERE state = 'acknowledged'", 2)
    await partner.until(3)


async def test_what_waits_for_an_endpoint_that_is_gone_is_not_looked_through_until_it_is_resumed(
    settings: Settings, partner: ThirdParty, key_service: KeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in review: all of it was, at each of five looks a second, once a third party had answered 410."""
    claimed: list[str] = []
    claim = store.claim

    async def noted(pool: Any, recipient: str, *rest: Any) -> list[store.Job]:
        claimed.append(recipient)
        return await claim(pool, recipient, *rest)

    url = settings.third_parties[PARTNER]["url"]
    await partner.behave({"status": 410, "times": 1})
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        await until(parts.pool, STATE, "disabled")
        await parts.ingest.apply(taken(*(sealed_notice(key_service) for _ in range(20)), first_offset=1))
        await asyncio.sleep(0.5)  # a look that began before the answer is over
        monkeypatch.setattr(store, "claim", noted)
        await asyncio.sleep(1.0)
        assert claimed == []
        assert await store.due(parts.pool, {PARTNER: url}, utc_now()) == []
        assert await store.due(parts.pool, {PARTNER: f"{url}?v=2"}, utc_now()) == [PARTNER], "another URL is another"
        assert await store.due(parts.pool, {"nobody": url}, utc_now()) == []
        await parts.registry.resume(PARTNER)
        await until(parts.pool, "SELECT count(*) FROM notice WHERE state = 'acknowledged'", 21)
    assert set(claimed) == {PARTNER}
    await partner.until(22)


async def test_a_new_url_is_a_new_endpoint(settings: Settings, partner: ThirdParty, key_service: KeyService) -> None:
    await partner.behave({"status": 410, "times": 1})
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        await until(parts.pool, STATE, "disabled")
    moved = {PARTNER: {"url": f"{partner.url}/webhook?v=2", "secret": SECRET}}
    async with sending(settings.model_copy(update={"third_parties": moved})) as parts:
        await until(parts.pool, STATE, "acknowledged")


@pytest.mark.f(22)
async def test_a_redirect_is_a_failure_and_never_followed(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    async with _canary() as (url, visits):
        await partner.behave({"status": 302, "headers": {"Location": url}, "times": 1})
        async with sending(settings) as parts:
            await parts.ingest.apply(taken(sealed_notice(key_service)))
            await until(parts.pool, "SELECT status FROM attempt", 302)
            assert await parts.pool.fetchval(STATE) == "pending"
    assert visits == []


@contextlib.asynccontextmanager
async def _canary() -> AsyncIterator[tuple[str, list[str]]]:
    """A server that must not be visited."""
    visits: list[str] = []

    async def visited(request: web.Request) -> web.Response:
        visits.append(request.path)
        return web.json_response({"outcome": "corrected"})

    server = web.Application()
    server.add_routes([web.route("*", "/{path:.*}", visited)])
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/elsewhere", visits
    await runner.cleanup()


async def test_a_2xx_without_an_outcome_is_delivered_and_asked_again(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    await partner.behave({"status": 202, "answer": None, "times": 1}, {"status": 500, "times": 1})
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        await until(parts.pool, STATE, "delivered")
        assert await parts.pool.fetch(OUTBOX) == []
        await due_now(parts)
        await until(parts.pool, ATTEMPTS, 2)
        assert await parts.pool.fetchval(STATE) == "delivered"
        await due_now(parts)
        await until(parts.pool, STATE, "acknowledged")
    told = await partner.until(3)
    assert len({t["webhook_id"] for t in told}) == 1


async def test_an_endless_answer_is_not_read(settings: Settings, key_service: KeyService) -> None:
    async with _flood() as url:
        flooding = {PARTNER: {"url": url, "secret": SECRET}}
        async with sending(settings.model_copy(update={"third_parties": flooding}), timeout_s=5) as parts:
            await parts.ingest.apply(taken(sealed_notice(key_service)))
            await until(parts.pool, STATE, "delivered")


@contextlib.asynccontextmanager
async def _flood() -> AsyncIterator[str]:
    """A receiver whose 200 never ends."""

    async def flood(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b'{"outcome":"corrected"}' + b" " * 65_536)
        return answer

    server = web.Application()
    server.add_routes([web.post("/webhook", flood)])
    runner = web.AppRunner(server, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/webhook"
    await runner.cleanup()


@pytest.mark.f(24)
async def test_the_older_notice_of_a_member_goes_first_and_holds_up_nobody_else(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    """The newer one is about another item: were it told first, the receiver would drop the older one as outdated."""
    older = sealed_notice(key_service, seq=2)
    newer = sealed_notice(key_service, seq=3, member_ref=older.notice.member_ref, email="", name="바다")
    other = sealed_notice(key_service)
    await partner.behave({"status": 500, "times": 1})
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(older))
        await until(parts.pool, ATTEMPTS, 1)
        await parts.ingest.apply(taken(newer, other, first_offset=1))
        await until(parts.pool, "SELECT count(*) FROM notice WHERE state = 'acknowledged'", 1)
        await asyncio.sleep(0.5)
        assert [t["webhook_id"] for t in await partner.received()] == [older.notice.notice_id, other.notice.notice_id]
        assert await parts.pool.fetchval("SELECT count(DISTINCT due_at) FROM notice WHERE closed_at IS NULL") == 1
        await parts.pool.execute("UPDATE notice SET due_at = now() WHERE attempts > 0 AND closed_at IS NULL")
        await until(parts.pool, "SELECT count(*) FROM notice WHERE state = 'acknowledged'", 2)
        await due_now(parts)
        await until(parts.pool, "SELECT count(*) FROM notice WHERE state = 'acknowledged'", 3)
    told = await partner.until(4)
    assert [t["message"]["data"]["sequence"] for t in told[2:]] == [2, 3]


async def test_a_recipient_without_an_endpoint_waits_and_is_told_once_it_has_one(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    async with sending(settings.model_copy(update={"third_parties": {}})) as parts:
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        await desk.look(parts.pool, parts.endpoints, utc_now())
        assert await parts.pool.fetchval(STATE) == "no_endpoint"
    async with sending(settings) as parts:
        await until(parts.pool, STATE, "acknowledged")
    await partner.until(1)


async def test_a_key_service_that_is_away_delays_and_costs_no_attempt(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    key_service.up = False
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        async with asyncio.timeout(10):
            while key_service.asked == 0:
                await asyncio.sleep(0.05)
        await until(parts.pool, "SELECT due_at > now() + interval '3 s' FROM notice", True)
        assert await parts.pool.fetchval("SELECT attempts FROM notice") == 0
        key_service.up = True
        await due_now(parts)
        await until(parts.pool, STATE, "acknowledged")
    await partner.until(1)


async def test_the_notice_of_an_erased_member_is_not_sent_and_answered_for(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    one = sealed_notice(key_service)
    key_service.destroyed.add(one.notice.member_ref)
    del key_service.data_keys[one.notice.member_ref]
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(one))
        await until(parts.pool, STATE, "skipped_destroyed")
        (receipt,) = [row[0] for row in await parts.pool.fetch(OUTBOX)]
    assert (receipt["stage"], receipt["outcome"]) == ("skipped_destroyed", None)
    assert await partner.received() == []


async def test_a_notice_no_key_opens_becomes_a_dead_letter_with_a_receipt_and_may_come_again(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    one = sealed_notice(key_service)
    right = key_service.data_keys[one.notice.member_ref]
    key_service.data_keys[one.notice.member_ref] = bytes(32)
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(one))
        await until(parts.pool, STATE, "refused")
        letter, receipt = await parts.pool.fetch("SELECT * FROM outbox ORDER BY position")
        assert letter["aggregatetype"] == "dongui.notices.v1.dlq"
        assert letter["payload"] == one.value
        assert letter["headers"]["dongui-error"] == "wrong_key"
        assert letter["headers"]["dongui-origin"] == "dongui.notices.v1/0/0"
        assert b'"refused"' in receipt["payload"]
        assert b'"wrong_key"' in receipt["payload"]
    key_service.data_keys[one.notice.member_ref] = right
    async with sending(settings) as parts:
        await parts.ingest.apply(taken(one, first_offset=9))
        await until(parts.pool, STATE, "acknowledged")
    await partner.until(1)


async def test_a_lease_that_ran_out_is_sent_again_and_a_late_sender_writes_nothing(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    """As after `kill -9` between the POST and the record of it."""
    await partner.behave({"delay_s": 2.0, "times": 1}, {"answer": {"outcome": "not_held"}, "times": 1})
    one = sealed_notice(key_service)
    async with sending(settings, lease=timedelta(seconds=0.5)) as slow:
        await slow.ingest.apply(taken(one))
        await until(slow.pool, STATE, "acknowledged")
        await asyncio.sleep(2.0)
        assert await slow.pool.fetchval("SELECT outcome FROM notice") == "not_held"
        assert await slow.pool.fetchval("SELECT count(*) FROM outbox") == 1
    told = await partner.until(2)
    assert told[0]["webhook_id"] == told[1]["webhook_id"] == one.notice.notice_id


async def test_many_senders_on_one_database_send_each_notice_once(
    settings: Settings, partner: ThirdParty, key_service: KeyService
) -> None:
    many = [sealed_notice(key_service) for _ in range(40)]
    async with sending(settings) as one, sending(settings), sending(settings):
        await one.ingest.apply(taken(*many))
        await until(one.pool, "SELECT count(*) FROM notice WHERE state = 'acknowledged'", 40)
    told = await partner.until(40)
    assert {t["webhook_id"] for t in told} == {m.notice.notice_id for m in many}


async def test_the_production_profile_connects_to_no_inside_address(
    settings: Settings, key_service: KeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves to loopback: what the name says does not count."""
    resolve = socket.getaddrinfo

    def inside(host: Any, *rest: Any, **named: Any) -> Any:
        return resolve("127.0.0.1" if host == "partner.example" else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", inside)
    outside = {PARTNER: {"url": "https://partner.example/webhook", "secret": SECRET}}
    production = settings.model_copy(update={"profile": "production", "third_parties": outside})
    async with app.build(production) as parts:
        await parts.registry.prove(await parts.registry.find(PARTNER), "file")
    async with sending(production) as parts:
        await parts.ingest.apply(taken(sealed_notice(key_service)))
        await until(parts.pool, "SELECT error FROM attempt", "EgressRefusedError")


async def test_the_process_role_may_not_rewrite_evidence(settings: Settings, databases: Any) -> None:
    connection = await asyncpg.connect(databases.dsn("notices"))
    try:
        for statement in (
            "UPDATE attempt SET status = 200",
            "DELETE FROM attempt",
            "DELETE FROM notice",
            "UPDATE answer SET outcome = 'corrected'",
            "UPDATE outbox SET payload = ''",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()

"""Clause 2.2 on real rows: the notice, what cancels it, and leaving with the members under the account."""

import asyncio
import uuid
from datetime import date, datetime, timedelta
from typing import Any

import pytest_asyncio

from schemas.topics import FACTS, RECEIPTS, affiliate_topic
from services.consent.dormancy import account
from services.consent.dormancy.scan import scan
from services.policy.dormancy import all_promises
from services.runtime.clock import KST
from tests.integration.consent.harness import Service, a_token, bearer
from tests.integration.consent.pinned import as_of, emptied, outbox

JOINED = datetime(2025, 11, 23, 10, tzinfo=KST)
NOTICE_DAY = datetime(2026, 10, 24, 0, 30, tzinfo=KST)
LAST_EVENING = datetime(2026, 11, 23, 23, 59, tzinfo=KST)
DAY_AFTER = datetime(2026, 11, 24, 0, 5, tzinfo=KST)
ON = [p.model_copy(update={"enabled": True}) for p in all_promises()]
WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = $1"
ADMIN = {"service": "hypermeeting", "role": "admin", "customer_name": "한빛상사"}


@pytest_asyncio.fixture
async def quiet(silent: Service) -> Service:
    await emptied(silent, "duty", "message, message_attempt, message_reconfirmation")
    return silent


async def joined(service: Service, **changes: Any) -> str:
    async with as_of(service, JOINED) as then:
        return await then.sign_up(**changes)


async def status(service: Service, ref: str) -> str:
    return str((await service.http.get(f"/v1/members/{ref}")).json()["status"])


async def facts(service: Service, ref: str) -> list[tuple[str, str, str | None]]:
    return [(f["change"], f["actor"], f.get("note")) for f in await outbox(service, FACTS) if f["member_ref"] == ref]


async def duty(service: Service, ref: str) -> tuple[date, str | None]:
    row = await service.pool.fetchrow(
        "SELECT due_on, outcome FROM duty WHERE kind = 'dormancy_leave' AND member_ref = $1", ref
    )
    return row["due_on"], row["outcome"]


async def test_an_unused_account_is_told_thirty_days_before_and_nothing_else_changes(quiet: Service) -> None:
    ref = await joined(quiet)
    assert await scan(quiet.consent, NOTICE_DAY - timedelta(hours=1), ON) == {"wait": 1}
    assert await status(quiet, ref) == "active"
    assert await scan(quiet.consent, NOTICE_DAY, ON) == {"notify": 1}
    assert await status(quiet, ref) == "dormant_notified"
    assert await facts(quiet, ref) == [("signed_up", "service", None)]
    message = await quiet.pool.fetchrow("SELECT kind, data FROM message WHERE member_ref = $1", ref)
    assert (message["kind"], message["data"]) == ("dormancy_notice", {"leaves_on": "2026-11-24"})
    (entry,) = [e for e in await outbox(quiet, RECEIPTS) if e.get("kind") == "dormancy"]
    assert (entry["member_ref"], entry["state"], entry["codes"]) == (ref, "notified", {"last_day": "2026-11-23"})
    assert await duty(quiet, ref) == (date(2026, 11, 23), None)


async def test_telling_again_tells_nobody_twice(quiet: Service) -> None:
    ref = await joined(quiet)
    for _ in range(2):
        await scan(quiet.consent, NOTICE_DAY, ON)
    assert await scan(quiet.consent, NOTICE_DAY + timedelta(days=1), ON) == {"wait": 1}
    assert await quiet.pool.fetchval("SELECT count(*) FROM message WHERE member_ref = $1", ref) == 1


async def test_data_flows_and_consents_are_taken_while_the_notice_stands(quiet: Service) -> None:
    ref = await joined(quiet, consents={"collection": True, "sharing": False})
    await scan(quiet.consent, NOTICE_DAY, ON)
    async with as_of(quiet, NOTICE_DAY + timedelta(days=2)) as then:
        body = {"granted": True, "recipients": ["tmax-os"], "notice_version": "2021-02-22"}
        answer = await then.http.put(f"/v1/members/{ref}/consents/sharing", json=body, headers={"If-Match": '"1"'})
        assert answer.status_code == 200, answer.text
    sent = await quiet.pool.fetchval(
        "SELECT count(*) FROM outbox WHERE aggregatetype = $1 AND aggregateid = $2", affiliate_topic("tmax-os"), ref
    )
    assert sent == 1
    # What the member did is a use: the next look takes the notice back.
    assert await scan(quiet.consent, NOTICE_DAY + timedelta(days=3), ON) == {"release": 1}
    assert await status(quiet, ref) == "active"


async def test_a_log_in_takes_the_notice_back_by_a_change_and_the_year_starts_anew(quiet: Service) -> None:
    ref = await joined(quiet)
    await scan(quiet.consent, NOTICE_DAY, ON)
    async with as_of(quiet, datetime(2026, 11, 20, 8, tzinfo=KST)) as then:
        answer = await then.http.post(f"/v1/members/{ref}/activity", json={})
        assert (answer.status_code, answer.json()) == (200, {"member_ref": ref, "released": True})
        again = await then.http.post(f"/v1/members/{ref}/activity", json={})
        assert again.json() == {"member_ref": ref, "released": False}
        assert await then.status(ref) == "active"
    assert await facts(quiet, ref) == [("signed_up", "service", None), ("released", "service", "dormancy")]
    assert await duty(quiet, ref) == (date(2026, 11, 23), "released")
    assert await scan(quiet.consent, DAY_AFTER, ON) == {}
    # Unused again for a year, it is told again: with a notice and a duty of its own.
    assert await scan(quiet.consent, datetime(2027, 10, 21, 9, tzinfo=KST), ON) == {"notify": 1}
    assert await quiet.pool.fetchval("SELECT count(*) FROM duty WHERE kind = 'dormancy_leave'") == 2
    assert await quiet.pool.fetchval("SELECT count(*) FROM message WHERE kind = 'dormancy_notice'") == 2


async def test_a_log_in_of_before_the_notice_reported_late_leaves_the_decision_to_the_next_look(quiet: Service) -> None:
    ref = await joined(quiet)
    await scan(quiet.consent, NOTICE_DAY, ON)
    async with as_of(quiet, NOTICE_DAY + timedelta(days=1)) as then:
        early = (NOTICE_DAY - timedelta(days=20)).isoformat()
        answer = await then.http.post(f"/v1/members/{ref}/activity", json={"at": early})
        assert answer.json()["released"] is False
    assert await scan(quiet.consent, NOTICE_DAY + timedelta(days=1), ON) == {"release": 1}


async def test_the_account_leaves_the_day_after_with_all_its_members(quiet: Service) -> None:
    ref = await joined(quiet, profiles=[ADMIN])
    under = [await joined(quiet), await joined(quiet)]
    beside = await joined(quiet)
    async with as_of(quiet, JOINED + timedelta(days=1)) as then:
        for member in under:
            answer = await then.post(f"/v1/members/{ref}/account-members", {"member_ref": member})
            assert answer.status_code == 201, answer.text
        listed = (await then.http.get(f"/v1/members/{ref}/account-members")).json()["account_members"]
        assert {m["member_ref"] for m in listed} == set(under)
        await then.http.post(f"/v1/members/{beside}/activity", json={})
    assert await scan(quiet.consent, NOTICE_DAY, ON) == {"notify": 1, "wait": 1}
    assert {await status(quiet, m) for m in (ref, *under)} == {"dormant_notified"}
    assert await quiet.pool.fetchval("SELECT count(*) FROM message WHERE kind = 'dormancy_notice'") == 3
    assert await scan(quiet.consent, LAST_EVENING, ON) == {"wait": 1, "notify": 1}
    assert await scan(quiet.consent, DAY_AFTER, ON) == {"leave": 1, "wait": 1}
    for member in (ref, *under):
        assert await status(quiet, member) == "withdrawn"
        assert await facts(quiet, member) == [
            ("signed_up", "service", None),
            ("withdrawal_requested", "system", "dormancy"),
            ("withdrawn", "system", "dormancy"),
        ]
    row = await quiet.pool.fetchrow("SELECT * FROM member WHERE member_ref = $1", ref)
    emptied_columns = ("email", "name", "password_hash", "last_active_at", "dormant_notified_at")
    assert [row[c] for c in emptied_columns] == [None] * 5
    stops = [s["stop"] for s in await outbox(quiet, affiliate_topic("tmax-os")) if s["member_ref"] == ref]
    assert stops == ["withdrawal_requested", "withdrawn"]
    assert await duty(quiet, ref) == (date(2026, 11, 23), "left")
    assert await status(quiet, beside) == "dormant_notified"


async def test_a_member_who_logs_in_keeps_the_account_it_is_under(quiet: Service) -> None:
    ref = await joined(quiet, profiles=[ADMIN])
    under = await joined(quiet)
    async with as_of(quiet, JOINED) as then:
        await then.post(f"/v1/members/{ref}/account-members", {"member_ref": under})
    await scan(quiet.consent, NOTICE_DAY, ON)
    async with as_of(quiet, LAST_EVENING) as then:
        answer = await then.http.post(f"/v1/members/{under}/activity", json={})
        assert answer.json()["released"] is True
    assert await scan(quiet.consent, DAY_AFTER, ON) == {"wait": 1}
    assert {await status(quiet, m) for m in (ref, under)} == {"active"}


async def test_a_suspended_member_under_the_account_loses_its_notice_without_a_release(quiet: Service) -> None:
    ref = await joined(quiet, profiles=[ADMIN])
    under = await joined(quiet)
    async with as_of(quiet, JOINED) as then:
        await then.post(f"/v1/members/{ref}/account-members", {"member_ref": under})
    await scan(quiet.consent, NOTICE_DAY, ON)
    await quiet.pool.execute("UPDATE member SET status = 'suspended' WHERE member_ref = $1", under)
    async with as_of(quiet, LAST_EVENING) as then:
        await then.http.post(f"/v1/members/{ref}/activity", json={})
    assert [change for change, _, _ in await facts(quiet, ref)] == ["signed_up", "released"]
    assert [change for change, _, _ in await facts(quiet, under)] == ["signed_up"]
    left = await quiet.pool.fetchval("SELECT count(*) FROM member WHERE dormant_notified_at IS NOT NULL")
    assert left == 0


async def test_as_the_policy_data_stands_nobody_leaves(quiet: Service) -> None:
    ref = await joined(quiet)
    assert await scan(quiet.consent, datetime(2030, 1, 1, tzinfo=KST)) == {}
    assert await status(quiet, ref) == "active"
    await scan(quiet.consent, NOTICE_DAY, ON)
    assert await scan(quiet.consent, DAY_AFTER) == {"release": 1}
    assert await status(quiet, ref) == "active"


async def test_an_account_that_cannot_be_settled_stops_no_other(quiet: Service) -> None:
    broken, sound = sorted([await joined(quiet), await joined(quiet)])
    await scan(quiet.consent, NOTICE_DAY, ON)
    await quiet.consent.keyring.shred(broken)
    assert await scan(quiet.consent, DAY_AFTER, ON) == {"leave": 1}
    assert await status(quiet, sound) == "withdrawn"
    assert await status(quiet, broken) == "dormant_notified"


async def test_a_suspended_member_is_left_alone(quiet: Service) -> None:
    ref = await joined(quiet)
    await quiet.pool.execute("UPDATE member SET status = 'suspended' WHERE member_ref = $1", ref)
    assert await scan(quiet.consent, DAY_AFTER, ON) == {}


async def test_the_signal_of_use_is_the_services_alone_and_lies_in_the_past(quiet: Service) -> None:
    ref = await joined(quiet)
    path = f"/v1/members/{ref}/activity"
    mine = bearer(a_token(ref, "member"))
    assert (await quiet.http.post(path, json={}, headers=mine)).status_code == 403
    later = {"at": (datetime.now(KST) + timedelta(hours=1)).isoformat()}
    refused = await quiet.http.post(path, json=later)
    assert (refused.status_code, refused.json()["code"]) == (422, "activity_in_future")
    assert (await quiet.http.post(path, json={"at": "0001-01-01T00:00:00Z"})).status_code == 422
    nobody = await quiet.http.post(f"/v1/members/{uuid.uuid4()}/activity", json={})
    assert (nobody.status_code, nobody.json()["code"]) == (404, "member_not_found")
    await quiet.post(f"/v1/members/{ref}/withdrawal")
    await quiet.post(f"/v1/members/{ref}/withdrawal/confirm")
    gone = await quiet.http.post(path, json={})
    assert (gone.status_code, gone.json()["code"]) == (409, "member_withdrawn")


async def test_only_members_of_one_administrator_are_under_an_account(quiet: Service) -> None:
    admin, other = await joined(quiet, profiles=[ADMIN]), await joined(quiet, profiles=[ADMIN])
    plain, member = await joined(quiet), await joined(quiet)

    async def refused(parent: str, child: str) -> tuple[int, str]:
        answer = await quiet.post(f"/v1/members/{parent}/account-members", {"member_ref": child})
        return answer.status_code, answer.json()["code"]

    assert await refused(plain, member) == (409, "not_an_administrator")
    assert await refused(admin, str(uuid.uuid4())) == (404, "member_not_found")
    assert (await quiet.post(f"/v1/members/{admin}/account-members", {"member_ref": member})).status_code == 201
    assert await refused(other, member) == (409, "account_taken")
    assert await refused(other, admin) == (409, "account_nested")
    assert (await refused(admin, admin))[0] in {404, 409}
    entry = [e for e in await outbox(quiet, RECEIPTS) if e.get("kind") == "account_member"][-1]
    assert (entry["subject"], entry["state"]) == (member, "added")
    assert (await quiet.http.delete(f"/v1/members/{admin}/account-members/{member}")).status_code == 204
    assert (await quiet.http.delete(f"/v1/members/{admin}/account-members/{member}")).status_code == 404
    staff = bearer(a_token("officer", "compliance"))
    path = f"/v1/members/{admin}/account-members"
    assert (await quiet.post(path, {"member_ref": member}, headers=staff)).status_code == 403


async def test_who_is_leaving_already_is_not_told(quiet: Service) -> None:
    ref = await joined(quiet)
    async with as_of(quiet, JOINED) as then:
        await then.post(f"/v1/members/{ref}/withdrawal")
        assert await then.status(ref) == "withdrawal_requested"
    assert await scan(quiet.consent, DAY_AFTER, ON) == {}


async def test_a_change_that_commits_while_the_scan_waits_for_its_lock_is_a_use(quiet: Service) -> None:
    """Found in review: the statement that waited for the lock looked at the changes of before it waited."""
    ref = await joined(quiet)
    used = DAY_AFTER - timedelta(minutes=1)
    async with quiet.pool.acquire() as member, quiet.pool.acquire() as scanning, scanning.transaction():
        async with member.transaction():
            await member.execute("UPDATE member SET seq = seq + 1 WHERE member_ref = $1", ref)
            waiting = asyncio.create_task(account.lock(scanning, ref))
            async with asyncio.timeout(10):
                while not await quiet.pool.fetchval(WAITS, scanning.get_server_pid()):
                    await asyncio.sleep(0.02)
            await member.execute(
                "INSERT INTO change (change_id, member_ref, seq, name, fact, accepted_at, status) "
                "SELECT $3, member_ref, 2, 'corrected', fact, $2, status FROM change WHERE member_ref = $1",
                ref,
                used,
                str(uuid.uuid4()),
            )
        assert (await waiting).used_at == used

"""Statutory records (2.1): what is taken, what is refused, until when it is kept and who sees it while it is here."""

import uuid
from datetime import date, datetime
from typing import Any

import pytest
import pytest_asyncio

from schemas.topics import RECEIPTS
from services.consent import retained
from services.runtime.clock import KST
from tests.integration.consent.harness import Service, a_token, bearer
from tests.integration.consent.pinned import as_of, outbox

NOW = datetime(2026, 11, 24, 10, tzinfo=KST)
ORDER = {
    "class": "contract",
    "occurred_at": "2026-11-20T10:00:00+09:00",
    "fields": {"order_no": "A-1", "amount": 12000, "address": "서울 종로구 1"},
}


@pytest_asyncio.fixture
async def ref(silent: Service) -> str:
    return str((await silent.sign_up(name="김기록", email="record@example.com"))["member_ref"])


async def taken(service: Service, ref: str, **changes: Any) -> Any:
    async with as_of(service, NOW) as then:
        return await then.post(f"/v1/members/{ref}/records", ORDER | changes)


async def test_the_answer_says_until_when_and_by_which_rule(silent: Service, ref: str) -> None:
    answer = await taken(silent, ref)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    # 5 years from Friday 2026-11-20: Thursday 2031-11-20.
    assert (told["class"], told["last_day"], told["destroy_on"]) == ("contract", "2031-11-20", "2031-11-21")
    assert told["rule"]["id"] == "ecommerce.contract"
    assert told["considered"] == [
        {"rule": "policy.contract", "last_day": "2031-11-20"},
        {"rule": "ecommerce.contract", "last_day": "2031-11-20"},
    ]
    row = await silent.pool.fetchrow("SELECT class, destroy_on, rule FROM statutory_record")
    assert tuple(row) == ("contract", date(2031, 11, 21), "ecommerce.contract")
    (entry,) = [e for e in await outbox(silent, RECEIPTS) if e.get("kind") == "statutory_record"]
    assert (entry["member_ref"], entry["subject"], entry["state"]) == (ref, told["record_id"], "recorded")
    assert entry["codes"] == {"class": "contract", "rule": "ecommerce.contract", "destroy_on": "2031-11-21"}


async def test_the_content_is_sealed_at_rest_and_shown_to_the_person(silent: Service, ref: str) -> None:
    await taken(silent, ref)
    sealed = await silent.pool.fetchval("SELECT sealed FROM statutory_record")
    assert b"A-1" not in sealed
    assert "김기록".encode() not in sealed
    own = bearer(a_token(ref, "member"))
    answer = await silent.http.get(f"/v1/members/{ref}/records", headers=own)
    assert answer.headers["cache-control"] == "no-store"
    (shown,) = answer.json()["records"]
    assert shown["party"] == {"name": "김기록", "email": "record@example.com", "address": "서울 종로구 1"}
    assert shown["fields"] == {"order_no": "A-1", "amount": "12000"}
    assert (shown["kept_in"], shown["destroy_on"]) == ("consent", "2031-11-21")
    other = bearer(a_token(str(uuid.uuid4()), "member"))
    assert (await silent.http.get(f"/v1/members/{ref}/records", headers=other)).status_code == 404
    staff = bearer(a_token("officer", "compliance"))
    assert (await silent.http.get(f"/v1/members/{ref}/records", headers=staff)).status_code == 403


@pytest.mark.parametrize(
    "name", ["password_hash", "birth_date", "photo", "friends", "phone", "marketing", "password", "unknown_thing"]
)
async def test_a_field_the_class_may_not_hold_is_refused_and_not_repeated(silent: Service, ref: str, name: str) -> None:
    answer = await taken(silent, ref, fields={"order_no": "A-1", name: "canary-value"})
    assert (answer.status_code, answer.json()["code"]) == (422, "field_not_allowed")
    assert answer.json()["errors"] == [{"pointer": f"/fields/{name}", "code": "field_not_allowed"}]
    assert "canary-value" not in answer.text
    assert await silent.pool.fetchval("SELECT count(*) FROM statutory_record") == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"occurred_at": "2026-11-24T10:00:01+09:00"}, "occurred_in_future"),
        # 3 months from 2026-08-23 end on Monday 2026-11-23: over on the 24th.
        ({"class": "visit", "fields": {}, "occurred_at": "2026-08-23T10:00:00+09:00"}, "keeping_over"),
        ({"occurred_at": "2001-05-01T10:00:00+09:00"}, "keeping_over"),
        ({"class": "access_log", "fields": {}}, "invalid_field"),
        ({"class": "nothing"}, "invalid_field"),
        ({"fields": {"order_no": ["a"]}}, "invalid_field"),
        ({"fields": {"order_no": "a\u0000b"}}, "invalid_field"),
        ({"fields": {"Order No": "a"}}, "invalid_field"),
        ({"extra": 1}, "invalid_field"),
    ],
)
async def test_what_makes_no_record_is_refused(silent: Service, ref: str, changes: Any, code: str) -> None:
    answer = await taken(silent, ref, **changes)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_the_last_day_itself_is_not_over(silent: Service, ref: str) -> None:
    changes = {"class": "visit", "fields": {"ip": "192.0.2.1"}, "occurred_at": "2026-08-24T10:00:00+09:00"}
    assert (await taken(silent, ref, **changes)).json()["last_day"] == "2026-11-24"


async def test_the_same_key_keeps_one_record(silent: Service, ref: str) -> None:
    key = str(uuid.uuid4())
    answers = [
        await silent.post(f"/v1/members/{ref}/records", ORDER | {"occurred_at": "2026-01-05T10:00:00+09:00"}, key=key)
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert await silent.pool.fetchval("SELECT count(*) FROM statutory_record") == 1


async def test_only_services_bring_records_and_only_of_members_who_are_here(silent: Service, ref: str) -> None:
    path = f"/v1/members/{ref}/records"
    for caller in ((ref, "member"), ("officer", "compliance"), ("tmax-os", "affiliate")):
        assert (await silent.post(path, ORDER, headers=bearer(a_token(*caller)))).status_code == 403
    nobody = await taken(silent, str(uuid.uuid4()))
    assert (nobody.status_code, nobody.json()["code"]) == (404, "member_not_found")
    await silent.post(f"/v1/members/{ref}/withdrawal")
    assert (await taken(silent, ref)).status_code == 201  # not gone before the confirmation
    await silent.post(f"/v1/members/{ref}/withdrawal/confirm")
    gone = await taken(silent, ref)
    assert (gone.status_code, gone.json()["code"]) == (409, "member_withdrawn")


async def test_a_record_of_a_member_who_stays_goes_too_when_its_time_is_over(silent: Service, ref: str) -> None:
    record_id = (await taken(silent, ref)).json()["record_id"]
    async with silent.pool.acquire() as connection:
        last_evening = datetime(2031, 11, 20, 23, 59, tzinfo=KST)
        assert await retained.destroy_expired(connection, last_evening) == 0
        assert await retained.destroy_expired(connection, datetime(2031, 11, 21, 0, 0, tzinfo=KST)) == 1
    assert await silent.pool.fetchval("SELECT count(*) FROM statutory_record") == 0
    (entry,) = [e for e in await outbox(silent, RECEIPTS) if e.get("kind") == "retention_destroyed"]
    assert (entry["subject"], entry["codes"]["place"]) == (record_id, "consent")


async def test_the_schedule_pages_through_every_record_in_order(
    silent: Service, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in ("2026-11-04", "2026-11-03", "2026-11-05"):
        assert (await taken(silent, ref, occurred_at=f"{day}T10:00:00+09:00")).status_code == 201
    monkeypatch.setattr("services.consent.statutory.PAGE", 2)
    found, cursor = [], ""
    while cursor is not None:
        params = {"until": "2031-12-31", "cursor": cursor}
        page = (await silent.http.get("/v1/records/schedule", params=params)).json()
        found += [record["occurred_at"][:10] for record in page["records"]]
        cursor = page["next"]
    assert found == ["2026-11-03", "2026-11-04", "2026-11-05"]
    mine = bearer(a_token(ref, "member"))
    refused = await silent.http.get("/v1/records/schedule", params={"until": "2031-12-31"}, headers=mine)
    assert refused.status_code == 403

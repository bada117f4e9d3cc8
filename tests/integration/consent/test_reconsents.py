"""A new notice: who is to be asked again, each told once; the consent to collection given anew, also at 14."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.consent import handlers
from services.consent.bodies import CorrectionBody
from services.consent.decisions import reconsent
from services.consent.handlers import Caller
from services.policy import message_text
from services.policy.messages import load
from tests.integration.consent.harness import Service, a_token, bearer
from tests.integration.consent.pinned import as_of
from tests.integration.consent.test_decisions import NEW, with_a_fourth

WIDER = with_a_fourth(('"membership_status"]\nrecipients', '"membership_status", "phone"]\nrecipients'))
OS_ONLY = {"collection": True, "sharing": {"tmax-os": True}}
STAFF = bearer(a_token("auditor", "compliance"))
TURNS_14 = datetime(2026, 11, 23, 15, tzinfo=UTC)
"""2026-11-24 00:00 in Korea: someone born on 2012-11-24 turns 14 (law notes A10)."""


@pytest.fixture
def changed(silent: Service) -> Service:
    """The same service once a second notice is in force that tells of an item and an affiliate more."""
    return replace(silent, consent=replace(silent.consent, rules=WIDER))


async def overview(service: Service, **query: str) -> dict[str, Any]:
    async with as_of(service, datetime.now(UTC), "compliance", sub="auditor") as staff:
        answer = await staff.http.get("/v1/reconsents", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_staff_see_how_many_and_who_is_to_be_asked_for_what(silent: Service, changed: Service) -> None:
    one = (await silent.sign_up(consents=OS_ONLY))["member_ref"]
    await silent.sign_up(consents={"collection": True})
    left = (await silent.sign_up(consents=OS_ONLY))["member_ref"]
    for step in ("withdrawal", "withdrawal/confirm"):
        await silent.post(f"/v1/members/{left}/{step}")
    empty = await overview(silent)
    assert empty == {"notice_version": "2021-02-22", "counts": [], "members": [], "next": None}
    found = await overview(changed)
    assert found["notice_version"] == NEW
    group = {"purpose": "sharing", "recipient": "tmax-os", "given_under": "2021-02-22", "notice_version": NEW}
    assert found["counts"] == [group | {"changed": ["items"], "members": 1}]
    assert [m["member_ref"] for m in found["members"]] == [one], "who shares with nobody is left alone"
    named = [(r["recipient"], r["given_under"]) for r in found["members"][0]["reconsents"]]
    assert named == [("tmax-os", "2021-02-22"), ("tmax-new", None)]
    assert (await overview(changed, cursor=one))["members"] == []
    assert (await silent.http.get("/v1/reconsents")).status_code == 403
    assert (await silent.http.get("/v1/reconsents?cursor=page", headers=STAFF)).status_code == 422


async def test_each_member_to_be_asked_is_told_once_per_version(silent: Service, changed: Service) -> None:
    ref = (await silent.sign_up(consents=OS_ONLY))["member_ref"]
    await silent.sign_up(consents={"collection": True})
    suspended = (await silent.sign_up(consents=OS_ONLY))["member_ref"]
    await silent.pool.execute("UPDATE member SET status = 'suspended' WHERE member_ref = $1", suspended)
    now = datetime.now(UTC)
    assert await reconsent.tell(silent.consent, now) == 0
    assert await reconsent.tell(changed.consent, now) == 1
    assert await reconsent.tell(changed.consent, now + timedelta(days=1)) == 0
    (row,) = await silent.pool.fetch("SELECT * FROM message WHERE kind = 'reconsent' AND queued_at >= $1", now)
    assert (row["member_ref"], row["kind"], row["sender"]) == (ref, "reconsent", "tmax-cloud")
    assert row["data"] == {"version": NEW, "since": "2026-06-01", "consents": ["sharing"]}
    address = message_text.Address("reconsent", "tmax-cloud", "ko")
    made = message_text.render(load(), silent.consent.rules, address, row["data"], "홍길동")
    assert "2026년 6월 1일" in made.body
    assert "다시 동의를 여쭙는 항목: 관계사 제공" in made.body


async def test_who_consents_anew_leaves_the_list(silent: Service, changed: Service) -> None:
    ref = (await silent.sign_up(consents=OS_ONLY))["member_ref"]
    async with as_of(changed, datetime.now(UTC)) as later:
        for seq, purpose in enumerate(("sharing", "collection"), start=1):
            body = {"granted": True, "notice_version": NEW} | ({"recipients": ["tmax-os"]} if seq == 1 else {})
            answer = await later.http.put(
                f"/v1/members/{ref}/consents/{purpose}", json=body, headers={"If-Match": f'"{seq}"'}
            )
            assert answer.status_code == 200, answer.text
        shown = (await later.http.get(f"/v1/members/{ref}")).json()
    assert {(g["purpose"], g["notice_version"]) for g in shown["grants"]} == {("sharing", NEW), ("collection", NEW)}
    assert (await overview(changed))["members"] == []
    kept = await silent.pool.fetch("SELECT notice_version FROM consent WHERE purpose = 'collection' ORDER BY given_at")
    assert [r["notice_version"] for r in kept] == ["2021-02-22", NEW], "the old one stays as evidence"


async def test_one_who_turns_fourteen_while_waiting_is_activated_by_its_own_consent(silent: Service) -> None:
    async with as_of(silent, TURNS_14 - timedelta(days=30)) as earlier:
        ref = await earlier.sign_up(birth_date="2012-11-24")
    path, body = f"/v1/members/{ref}/consents/collection", {"granted": True, "notice_version": "2021-02-22"}
    async with as_of(silent, TURNS_14 - timedelta(seconds=1), "member", sub=ref) as day_before:
        refused = await day_before.http.put(path, json=body, headers={"If-Match": '"1"'})
        assert (refused.status_code, refused.json()["code"]) == (409, "guardian_needed")
    async with as_of(silent, TURNS_14, "member", sub=ref) as birthday:
        answer = await birthday.http.put(path, json=body, headers={"If-Match": '"1"'})
        assert (answer.status_code, answer.json()["seq"]) == (200, 2)
        shown = (await birthday.http.get(f"/v1/members/{ref}")).json()
    assert (shown["status"], [g["purpose"] for g in shown["grants"]]) == ("active", ["collection"])
    sent = await silent.pool.fetch("SELECT DISTINCT aggregatetype FROM outbox WHERE aggregatetype LIKE '%affiliate%'")
    assert [r["aggregatetype"] for r in sent] == ["dongui.affiliate.tmax-cloud.v1"], "sharing is asked for anew"
    fact = await silent.pool.fetchval("SELECT fact FROM change WHERE seq = 2")
    assert (fact["change"], fact["note"], fact["actor"]) == ("released", "came_of_age", "member")


async def test_a_child_of_unknown_birth_date_cannot_grow_by_saying_so(silent: Service) -> None:
    ref = (await silent.sign_up(age_declaration=False))["member_ref"]
    refused = await silent.put(ref, 1, "collection", {"granted": True})
    assert (refused.status_code, refused.json()["code"]) == (409, "guardian_needed")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"granted": False}, "collection_ends_by_withdrawal"),
        ({"granted": True, "recipients": ["tmax-os"]}, "field_not_for_purpose"),
        ({"granted": True, "channel": "email"}, "field_not_for_purpose"),
    ],
)
async def test_the_consent_to_collection_has_no_party_and_is_not_taken_back_alone(
    silent: Service, body: dict[str, Any], code: str
) -> None:
    ref = (await silent.sign_up())["member_ref"]
    refused = await silent.put(ref, 1, "collection", body)
    assert (refused.status_code, refused.json()["code"]) == (422, code)


async def test_times_of_one_member_never_run_against_its_order(silent: Service) -> None:
    """A process whose clock is behind: its change is later all the same, and no instant is answered two ways."""
    ref = (await silent.sign_up())["member_ref"]
    behind = replace(silent.consent, clock=lambda: datetime.now(UTC) - timedelta(hours=1))
    await handlers.correct(behind, ref, CorrectionBody(name="이름"), "*", Caller("test", "member"), None)
    rows = await silent.pool.fetch("SELECT accepted_at, fact->>'at' AS at FROM change ORDER BY seq")
    first, second = (r["accepted_at"] for r in rows)
    assert second >= first
    assert datetime.fromisoformat(rows[1]["at"]) == second

"""Corrections, consents and withdrawal over HTTP: versions, the `prev` chain, what goes to whom."""

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.events import Fact, Projection, Stop
from schemas.topics import FACTS
from services.consent import changes
from tests.integration.consent.harness import Service, a_token, bearer
from tests.integration.consent.pinned import as_of

HOST = {"service": "hypermeeting", "role": "host", "phone": "010-1234-5678", "department": "연구1팀", "title": "책임"}


async def test_a_correction_reaches_only_holders_of_the_item(service: Service) -> None:
    made = await service.sign_up(profiles=[HOST])
    ref = made["member_ref"]
    answer = await service.patch(ref, 1, {"profiles": [{"service": "hypermeeting", "phone": "02-555-1234"}]})
    assert (answer.status_code, answer.json()["seq"], answer.headers["etag"]) == (200, 2, '"2"')
    _, second = await service.sent_to("tmax-os")
    assert isinstance(second, Projection)
    assert (second.seq, second.prev) == (2, 1)
    assert second.processed is not None
    assert second.processed.items["phone"] == "02-555-1234"
    assert second.processed.items["department"] == "연구1팀"
    assert [len(await service.sent_to(a)) for a in ("tmax-cloud", "tmax-anc")] == [1, 1]
    ledger = (await service.http.get(f"/v1/members/{ref}/disclosures")).json()["disclosures"]
    assert ledger[-1]["items"] == ["phone"]
    shown = (await service.http.get(f"/v1/members/{ref}")).json()
    assert shown["profiles"] == [HOST | {"phone": "02-555-1234"}]


async def test_a_role_alone_can_be_corrected(service: Service) -> None:
    made = await service.sign_up(profiles=[{"service": "wapl", "role": "member"}])
    ref = made["member_ref"]
    answer = await service.patch(ref, 1, {"profiles": [{"service": "wapl", "role": "room_manager"}]})
    assert answer.status_code == 200, answer.text
    shown = (await service.http.get(f"/v1/members/{ref}")).json()
    assert shown["profiles"] == [{"service": "wapl", "role": "room_manager"}]
    last = (await service.sent_to("tmax-anc"))[-1]
    assert isinstance(last, Projection)
    assert last.processed is not None
    assert last.processed.role == "room_manager"


async def test_a_correction_that_changes_nothing_is_a_change_without_items(service: Service) -> None:
    made = await service.sign_up(name="김하나")
    answer = await service.patch(made["member_ref"], 1, {"name": "김하나"})
    assert (answer.status_code, answer.json()["seq"]) == (200, 2)
    last = (await service.shapes(FACTS))[-1]
    assert isinstance(last, Fact)
    assert (last.change, last.items, last.addressees) == ("corrected", (), ())
    assert len(await service.sent_to("tmax-os")) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [({}, "nothing_to_correct"), ({"name": None}, "nothing_to_correct"), ({"seq": 9}, "extra_forbidden")],
)
async def test_a_correction_needs_a_field_it_knows(silent: Service, body: dict[str, object], code: str) -> None:
    made = await silent.sign_up()
    answer = await silent.patch(made["member_ref"], 1, body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)


async def test_a_version_is_asked_for_and_held_against_the_present_one(silent: Service) -> None:
    made = await silent.sign_up()
    path = f"/v1/members/{made['member_ref']}"
    without = await silent.http.patch(path, json={"name": "이"})
    assert (without.status_code, without.json()["code"]) == (428, "if_match_required")
    stale = await silent.patch(made["member_ref"], 7, {"name": "이"})
    assert (stale.status_code, stale.json()["code"]) == (412, "version_mismatch")
    consents = {"granted": False, "notice_version": "2021-02-22"}
    assert (await silent.http.put(f"{path}/consents/sharing", json=consents)).status_code == 428
    assert (await silent.http.get(path)).headers["etag"] == '"1"', "a refused change takes no number"


async def test_revoking_and_granting_again_opens_a_new_key_epoch(service: Service) -> None:
    made = await service.sign_up()
    ref = made["member_ref"]
    only = {"recipients": ["tmax-os"]}
    assert (await service.put(ref, 1, "sharing", {"granted": False} | only)).status_code == 200
    assert (await service.put(ref, 2, "sharing", {"granted": True} | only)).status_code == 200
    _, stop, again = await service.sent_to("tmax-os")
    assert isinstance(stop, Stop)
    assert isinstance(again, Projection)
    assert (stop.stop, stop.prev, stop.roles) == ("sharing_revoked", 1, ("recipient",))
    assert (again.seq, again.prev) == (3, 2)
    held = await service.pool.fetchrow("SELECT prev, epoch FROM held WHERE recipient = 'tmax-os'")
    assert tuple(held) == (3, 2)
    assert [len(await service.sent_to(a)) for a in ("tmax-cloud", "tmax-anc")] == [1, 1]


async def test_marketing_goes_as_an_instruction_to_its_sender_and_stops_with_use(service: Service) -> None:
    made = await service.sign_up()
    ref = made["member_ref"]
    refused = await service.put(ref, 1, "marketing", {"granted": True, "channel": "email", "senders": ["tmax-os"]})
    assert (refused.status_code, refused.json()["code"]) == (422, "marketing_use_required")
    await service.put(ref, 1, "marketing", {"granted": True, "senders": ["tmax-os"]})
    await service.put(ref, 2, "marketing", {"granted": True, "channel": "email", "senders": ["tmax-os"]})
    await service.put(ref, 3, "marketing", {"granted": False, "channel": "use", "senders": ["tmax-os"]})
    _, _, email, stop = await service.sent_to("tmax-os")
    assert isinstance(email, Projection)
    assert email.marketing is not None
    assert email.marketing.model_dump() == {"use": True, "email": True, "sms": False, "night": False}
    assert isinstance(stop, Stop)
    assert (stop.stop, stop.marketing) == ("marketing_revoked", None)
    grants = (await service.http.get(f"/v1/members/{ref}")).json()["grants"]
    assert "marketing" not in {g["purpose"] for g in grants}
    ended = await service.pool.fetch("SELECT channel FROM consent WHERE purpose = 'marketing' AND ended_at IS NOT NULL")
    assert {row["channel"] for row in ended} == {"use", "email"}


@pytest.mark.parametrize(
    ("purpose", "body", "code"),
    [
        ("sharing", {"granted": True, "channel": "email"}, "field_not_for_purpose"),
        ("sharing", {"granted": True, "recipients": ["acme"]}, "unknown_recipient"),
        ("sharing", {"granted": "true"}, "bool_type"),
        ("marketing", {"granted": True, "recipients": ["tmax-os"]}, "field_not_for_purpose"),
        ("marketing", {"granted": True, "notice_version": "1999-01-01"}, "unknown_notice_version"),
        ("collection", {"granted": False}, "collection_ends_by_withdrawal"),
        ("friendship", {"granted": False}, "literal_error"),
    ],
)
async def test_a_consent_that_cannot_stand_is_refused(
    silent: Service, purpose: str, body: dict[str, object], code: str
) -> None:
    made = await silent.sign_up()
    answer = await silent.put(made["member_ref"], 1, purpose, body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)


async def test_withdrawal_in_two_steps_stops_first_and_ends_after(service: Service) -> None:
    made = await service.sign_up(profiles=[HOST])
    ref = made["member_ref"]
    early = await service.post(f"/v1/members/{ref}/withdrawal/confirm")
    assert (early.status_code, early.json()["code"]) == (409, "withdrawal_not_requested")
    asked = await service.post(f"/v1/members/{ref}/withdrawal")
    assert (asked.status_code, asked.json()["seq"]) == (202, 2)
    shown = (await service.http.get(f"/v1/members/{ref}")).json()
    assert (shown["status"], shown["name"]) == ("withdrawal_requested", "홍길동")
    pending = await service.put(ref, 2, "sharing", {"granted": True})
    assert (pending.status_code, pending.json()["code"]) == (409, "member_not_active")
    done = await service.post(f"/v1/members/{ref}/withdrawal/confirm")
    assert (done.status_code, done.json()["seq"]) == (200, 3)
    shown = (await service.http.get(f"/v1/members/{ref}")).json()
    assert (shown["status"], shown["name"], shown["email"], shown["profiles"], shown["grants"]) == (
        "withdrawn",
        None,
        None,
        [],
        [],
    )
    stops = (await service.sent_to("tmax-os"))[1:]
    assert [(s.stop, s.prev, s.roles) for s in stops if isinstance(s, Stop)] == [
        ("withdrawal_requested", 1, ("processor", "recipient")),
        ("withdrawn", 2, ("processor", "recipient")),
    ]
    for late in ({"name": "다시"}, {"profiles": [{"service": "hypermeeting", "phone": "010-1111-2222"}]}):
        again = await service.patch(ref, 3, late)
        assert (again.status_code, again.json()["code"]) == (409, "member_withdrawn")


async def test_a_cancelled_withdrawal_brings_the_full_state_back(service: Service) -> None:
    made = await service.sign_up()
    ref = made["member_ref"]
    await service.post(f"/v1/members/{ref}/withdrawal")
    back = await service.post(f"/v1/members/{ref}/withdrawal/cancel")
    assert (back.status_code, back.json()["seq"]) == (200, 3)
    last = (await service.sent_to("tmax-os"))[-1]
    assert isinstance(last, Projection)
    assert last.member is not None
    assert (last.prev, last.member.status) == (2, "active")
    fact = (await service.shapes(FACTS))[-1]
    assert isinstance(fact, Fact)
    assert (fact.change, fact.note) == ("released", "withdrawal_request")


async def test_cancelling_a_withdrawal_does_not_lift_the_guardians_consent_or_a_suspension(silent: Service) -> None:
    made = await silent.sign_up(birth_date="2020-01-01")
    for step in ("withdrawal", "withdrawal/cancel"):
        await silent.post(f"/v1/members/{made['member_ref']}/{step}")
    shown = (await silent.http.get(f"/v1/members/{made['member_ref']}")).json()
    assert shown["status"] == "pending_guardian"


@pytest.mark.f(14)
async def test_twenty_writers_on_one_member_get_a_gapless_sequence_in_order(service: Service) -> None:
    made = await service.sign_up()
    ref = made["member_ref"]

    async def write(n: int) -> int:
        answer = await service.http.patch(f"/v1/members/{ref}", json={"name": f"이름{n}"}, headers={"If-Match": "*"})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["seq"])

    numbers = await asyncio.gather(*(write(n) for n in range(20)))
    assert sorted(numbers) == list(range(2, 22))
    for affiliate in ("tmax-cloud", "tmax-os", "tmax-anc"):
        sent = await service.sent_to(affiliate)
        assert [p.seq for p in sent if isinstance(p, Projection)] == list(range(1, 22))
        assert [p.prev for p in sent if isinstance(p, Projection)] == list(range(21))
    found = (await service.http.get(f"/v1/members/{ref}/changes")).json()["changes"]
    assert [c["seq"] for c in found] == list(range(1, 22))


async def test_many_changes_of_a_member_cost_as_many_statements_as_one(silent: Service) -> None:
    ref, asked = (await silent.sign_up())["member_ref"], list[str]()

    async def fetch(statement: str, *parameters: Any) -> Any:
        asked.append(statement)
        return await silent.pool.fetch(statement, *parameters)

    pool: Any = SimpleNamespace(fetch=fetch)
    counted = replace(silent.consent, pool=pool)
    await changes.of_member(counted, ref, 0)
    assert len(asked) == 2
    for seq in range(1, 31):
        assert (await silent.patch(ref, seq, {"name": f"이름{seq}"})).status_code == 200
    asked.clear()
    found = (await changes.of_member(counted, ref, 0))["changes"]
    assert len(asked) == 2
    assert [one["seq"] for one in found] == list(range(1, 32))
    assert {tuple(r["id"] for r in one["recipients"]) for one in found} == {("tmax-anc", "tmax-cloud", "tmax-os")}


async def test_changes_of_a_member_come_a_page_at_a_time(silent: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "PAGE", 2)
    ref = (await silent.sign_up())["member_ref"]
    for seq in (1, 2, 3):
        await silent.patch(ref, seq, {"name": f"이름{seq}"})
    pages = []
    for cursor in (0, 2, 4):
        answer = await silent.http.get(f"/v1/members/{ref}/changes", params={"cursor": cursor})
        assert answer.status_code == 200, answer.text
        pages.append(([one["seq"] for one in answer.json()["changes"]], answer.json()["next"]))
    assert pages == [([1, 2], 2), ([3, 4], 4), ([], None)]
    nobody = await silent.http.get(f"/v1/members/{uuid.uuid4()}/changes")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "member_not_found")


async def test_a_password_is_hashed_only_for_a_change_that_can_stand(silent: Service) -> None:
    ref, gone = [(await silent.sign_up())["member_ref"] for _ in range(2)]
    for step in ("withdrawal", "withdrawal/confirm"):
        assert (await silent.post(f"/v1/members/{gone}/{step}")).is_success
    hashed = list[str]()

    def hash_one(password: str) -> str:
        hashed.append(password)
        return silent.consent.hasher.hash(password)

    hasher: Any = SimpleNamespace(hash=hash_one)
    body, key = {"password": "another horse battery"}, {"Idempotency-Key": str(uuid.uuid4())}
    refusals = [(ref, '"7"', 412), (ref, "", 428), (str(uuid.uuid4()), '"1"', 404), (gone, "*", 409)]
    async with as_of(replace(silent, consent=replace(silent.consent, hasher=hasher)), datetime.now(UTC)) as then:
        for who, version, status in refusals:
            headers = {"If-Match": version} if version else {}
            answer = await then.http.patch(f"/v1/members/{who}", json=body, headers=headers)
            assert answer.status_code == status, answer.text
        assert hashed == []
        for _ in range(2):  # the second repeats a lost answer: the key is looked at before the version
            answer = await then.http.patch(f"/v1/members/{ref}", json=body, headers={"If-Match": '"1"'} | key)
            assert (answer.status_code, answer.json()["seq"]) == (200, 2)
    assert len(hashed) == 1


async def test_of_writers_with_one_version_exactly_one_wins(silent: Service) -> None:
    made = await silent.sign_up()
    answers = await asyncio.gather(*(silent.patch(made["member_ref"], 1, {"name": f"n{n}"}) for n in range(8)))
    assert sorted(a.status_code for a in answers) == [200] + [412] * 7


async def test_a_member_sees_itself_and_nobody_else(silent: Service) -> None:
    mine, other = await silent.sign_up(), await silent.sign_up()
    me = bearer(a_token(mine["member_ref"], "member"))
    own = f"/v1/members/{mine['member_ref']}"
    theirs = f"/v1/members/{other['member_ref']}"
    for path in ("", "/changes", "/disclosures"):
        assert (await silent.http.get(own + path, headers=me)).status_code == 200
        assert (await silent.http.get(theirs + path, headers=me)).status_code == 404
    stranger = await silent.http.get(f"/v1/members/{uuid.uuid4()}", headers=me)
    foreign = await silent.http.get(theirs, headers=me)
    assert stranger.json() == foreign.json(), "another's member and nobody look alike"
    assert (await silent.patch(other["member_ref"], 1, {"name": "x"}, **me)).status_code == 404
    assert (await silent.patch(mine["member_ref"], 1, {"name": "나"}, **me)).status_code == 200
    foreign_change = await silent.http.get(f"/v1/changes/{other['change_id']}", headers=me)
    unknown_change = await silent.http.get(f"/v1/changes/{uuid.uuid4()}", headers=me)
    assert foreign_change.status_code == unknown_change.status_code == 404
    assert foreign_change.json() == unknown_change.json()
    affiliate = bearer(a_token("tmax-os", "affiliate"))
    assert (await silent.http.get(own, headers=affiliate)).status_code == 403
    staff = bearer(a_token("kim", "compliance"))
    assert (await silent.http.get(own, headers=staff)).status_code == 200
    assert (await silent.patch(mine["member_ref"], 2, {"name": "x"}, **staff)).status_code == 403
    assert (await silent.http.get("/v1/members/not-a-reference")).status_code == 404

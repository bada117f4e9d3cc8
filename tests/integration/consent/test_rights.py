"""Rights requests over HTTP: nothing before the identity is sure, then the effect in every store, clock and proof."""

import hashlib
import uuid
from typing import Any

import httpx
import pytest

from schemas.events import Fact, Projection, Stop
from schemas.receipts import RegisterEntry
from schemas.topics import FACTS, NOTICES, RECEIPTS
from tests.integration.consent.harness import Service, a_token, bearer
from tests.integration.consent.pinned import outbox

HOST = {"service": "hypermeeting", "role": "host", "phone": "010-1234-5678", "department": "연구1팀", "title": "책임"}
WAPL = {"service": "wapl", "role": "member", "office_phone": "02-555-1234", "title": "책임"}
VERIFIED = {"method": "id_card", "verified_by": "kim"}
STAFF = bearer(a_token("kim", "compliance"))
PATH = "/v1/rights-requests"


async def ask(service: Service, ref: str, type_: str, **fields: Any) -> httpx.Response:
    headers = fields.pop("headers", {})
    body = {"member_ref": ref, "type": type_, "channel": "fax"} | fields
    return await service.post(PATH, body, headers=headers)


async def asked(service: Service, ref: str, type_: str, *, verified: bool = True, **fields: Any) -> str:
    answer = await ask(service, ref, type_, **fields)
    assert answer.status_code == 201, answer.text
    if verified:
        await step(service, answer.json()["id"], "verify", VERIFIED)
    return str(answer.json()["id"])


async def step(
    service: Service, request_id: str, verb: str, body: Any = None, status: int = 200, **headers: str
) -> Any:
    answer = await service.post(f"{PATH}/{request_id}/{verb}", body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


async def status_of(service: Service, ref: str) -> str:
    return str((await service.http.get(f"/v1/members/{ref}")).json()["status"])


async def facts(service: Service) -> list[Fact]:
    return [f for f in await service.shapes(FACTS) if isinstance(f, Fact)]


async def steps_logged(service: Service, request_id: str) -> list[str]:
    entries = [e for e in await service.shapes(RECEIPTS) if isinstance(e, RegisterEntry)]
    return [e.state for e in entries if e.subject == request_id]


async def late_subjects(service: Service) -> set[str]:
    return {d["subject"] for d in (await service.http.get("/v1/duties?late=true")).json()["duties"]}


async def clocks(service: Service, request_id: str) -> list[tuple[str, str | None]]:
    """Return the duties of a request in order of opening, each with how it ended; None while it runs."""
    read = "SELECT kind, outcome FROM duty WHERE subject = $1 ORDER BY position"
    return [tuple(row) for row in await service.pool.fetch(read, request_id)]


@pytest.mark.parametrize(
    ("received_at", "due_on"),
    [
        ("2022-03-07T10:00:00+09:00", "2022-03-17"),  # Monday + 10 days: a Thursday
        ("2022-03-06T15:30:00Z", "2022-03-17"),  # 00:30 of 7 March in Korea
        ("2022-05-11T09:00:00+09:00", "2022-05-23"),  # the tenth day is Saturday 21 May
    ],
)
async def test_the_clock_runs_from_the_receipt_in_korean_days(silent: Service, received_at: str, due_on: str) -> None:
    ref = (await silent.sign_up())["member_ref"]
    answer = await ask(silent, ref, "access", received_at=received_at)
    assert (answer.status_code, answer.json()["state"], answer.json()["due_on"]) == (201, "received", due_on)
    request_id = answer.json()["id"]
    late = (await silent.http.get("/v1/duties?late=true")).json()["duties"]
    mine = next(d for d in late if d["subject"] == request_id)
    assert (mine["kind"], mine["state"], mine["due_on"]) == ("access_answer", "late", due_on)
    assert (await silent.http.get(f"{PATH}/{request_id}")).json()["late"] is True
    await step(silent, request_id, "decide", {"outcome": "refused", "ground": "not_verified"})
    assert request_id in await late_subjects(silent), "decided, and nobody told the person yet"
    await step(silent, request_id, "done", {"told_by": "written"})
    assert request_id not in await late_subjects(silent)


async def test_a_correction_has_effect_after_verification_and_decision_only(service: Service) -> None:
    made = await service.sign_up(profiles=[HOST])
    ref = made["member_ref"]
    given = {"recipient": "demo-partner", "items": ["email"], "purpose": "P1.1", "basis": "consent"}
    assert (await service.post(f"/v1/members/{ref}/disclosures", given)).status_code == 201
    mail = f"new-{uuid.uuid4().hex[:8]}@example.com"
    changes = {"email": mail, "profiles": [{"service": "hypermeeting", "phone": "02-9-9"}]}
    request_id = await asked(service, ref, "correction", changes=changes, verified=False)
    early = await step(service, request_id, "decide", {"outcome": "granted"}, 409)
    assert early["code"] == "identity_not_verified"
    assert [f.change for f in await facts(service)] == ["signed_up"]
    await step(service, request_id, "verify", VERIFIED)
    assert [f.change for f in await facts(service)] == ["signed_up"]
    done = await step(service, request_id, "decide", {"outcome": "granted"})
    assert (done["state"], done["outcome"], len(done["change_ids"])) == ("decided", "granted", 1)
    fact = (await facts(service))[-1]
    assert (fact.change, fact.seq, fact.actor, fact.channel) == ("corrected", 2, "member", "fax")
    assert fact.items == ("email", "hypermeeting.phone")
    told = (await service.sent_to("tmax-os"))[-1]
    assert isinstance(told, Projection)
    assert told.member is not None
    assert told.member.email == mail
    assert told.processed is not None
    assert told.processed.items["phone"] == "02-9-9"
    assert [getattr(n, "recipient", "") for n in await service.shapes(NOTICES)] == ["demo-partner"]
    assert await steps_logged(service, request_id) == ["received", "verified", "decided"]
    stored = await service.pool.fetchrow("SELECT * FROM rights_request WHERE request_id = $1", request_id)
    assert mail.encode() not in stored["changes_sealed"]


async def test_a_suspension_blocks_at_verification_and_a_refusal_lifts_it(service: Service) -> None:
    ref = (await service.sign_up(profiles=[WAPL]))["member_ref"]
    request_id = await asked(service, ref, "suspension", verified=False)
    assert await status_of(service, ref) == "active"
    await step(service, request_id, "verify", VERIFIED)
    assert await status_of(service, ref) == "suspended"
    for affiliate, roles in (
        ("tmax-cloud", ("recipient",)),
        ("tmax-os", ("recipient",)),
        ("tmax-anc", ("processor", "recipient")),
    ):
        stop = (await service.sent_to(affiliate))[-1]
        assert isinstance(stop, Stop), affiliate
        assert (stop.stop, stop.seq, stop.prev, stop.roles) == ("suspended", 2, 1, roles)
    sharing = await service.put(ref, 2, "sharing", {"granted": True})
    assert sharing.status_code == 409
    bad = await step(service, request_id, "decide", {"outcome": "refused", "ground": "third_party_harm"}, 422)
    assert (bad["code"], bad["errors"][0]["known"]) == ("ground_not_offered", ["contract", "harm", "law"])
    done = await step(service, request_id, "decide", {"outcome": "refused", "ground": "law"})
    assert "이의" in done["objection"]["ko"]
    assert await status_of(service, ref) == "active"
    fact = (await facts(service))[-1]
    assert (fact.change, fact.note) == ("released", "suspension")
    back = (await service.sent_to("tmax-anc"))[-1]
    assert isinstance(back, Projection)
    assert back.member is not None
    assert back.member.status == "active"


async def test_a_granted_suspension_stands_until_the_member_lifts_it(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    me = bearer(a_token(ref, "member"))
    request_id = await asked(silent, ref, "suspension")
    await step(silent, request_id, "decide", {"outcome": "granted"})
    assert await status_of(silent, ref) == "suspended"
    again = await ask(silent, ref, "suspension")
    assert (again.status_code, again.json()["code"]) == (409, "already_suspended")
    unproven = await step(silent, request_id, "release", None, 409)
    assert unproven["code"] == "identity_not_verified"
    done = await step(silent, request_id, "release", None, **me)
    assert (done["state"], await status_of(silent, ref)) == ("released", "active")
    assert (await step(silent, request_id, "release", VERIFIED, 409))["code"] == "nothing_to_release"


async def test_a_suspension_and_a_withdrawal_request_hold_beside_each_other(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    assert (await silent.post(f"/v1/members/{ref}/withdrawal")).status_code == 202
    request_id = await asked(silent, ref, "suspension")
    assert await status_of(silent, ref) == "suspended"
    refused = await step(silent, request_id, "decide", {"outcome": "refused", "ground": "contract"}, 422)
    assert refused["code"] == "ground_contradicted"
    await step(silent, request_id, "decide", {"outcome": "granted"})
    await step(silent, request_id, "release", VERIFIED)
    assert await status_of(silent, ref) == "withdrawal_requested"
    second = await asked(silent, ref, "suspension")
    assert (await silent.post(f"/v1/members/{ref}/withdrawal/cancel")).status_code == 200
    assert await status_of(silent, ref) == "suspended"
    await step(silent, second, "withdraw")
    assert await status_of(silent, ref) == "active"


async def test_a_suspended_member_may_still_leave(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    assert (await silent.post(f"/v1/members/{ref}/withdrawal")).status_code == 202
    await asked(silent, ref, "suspension")
    again = await silent.post(f"/v1/members/{ref}/withdrawal")
    assert again.json()["code"] == "withdrawal_already_requested"
    assert (await silent.post(f"/v1/members/{ref}/withdrawal/confirm")).status_code == 200
    assert await status_of(silent, ref) == "withdrawn"


async def test_a_request_to_leave_hides_a_suspension_from_no_store(service: Service) -> None:
    """37(2): what is suspended is used by nobody, also while the member thinks about leaving."""
    ref = (await service.sign_up(profiles=[WAPL]))["member_ref"]
    request_id = await asked(service, ref, "suspension")
    assert (await service.post(f"/v1/members/{ref}/withdrawal")).status_code == 202
    assert await status_of(service, ref) == "withdrawal_requested"
    assert (await facts(service))[-1].addressees == ()
    for affiliate in ("tmax-cloud", "tmax-os", "tmax-anc"):
        stop = (await service.sent_to(affiliate))[-1]
        assert isinstance(stop, Stop), affiliate
        assert (stop.stop, stop.seq) == ("suspended", 2)
    assert (await service.patch(ref, 3, {"name": "새 이름"})).status_code == 200
    for affiliate in ("tmax-cloud", "tmax-os", "tmax-anc"):
        state = (await service.sent_to(affiliate))[-1]
        assert isinstance(state, Projection), affiliate
        assert state.member is not None
        assert (state.member.status, state.member.name, state.prev) == ("suspended", "새 이름", 2)
    await step(service, request_id, "withdraw")
    back = (await service.sent_to("tmax-os"))[-1]
    assert isinstance(back, Projection)
    assert back.member is not None
    assert back.member.status == "withdrawal_requested"


async def test_a_deletion_of_an_optional_item_clears_it_everywhere_and_tells_no_third_party(service: Service) -> None:
    ref = (await service.sign_up(profiles=[WAPL]))["member_ref"]
    given = {"recipient": "demo-partner", "items": ["wapl.office_phone"], "purpose": "P1.1", "basis": "consent"}
    assert (await service.post(f"/v1/members/{ref}/disclosures", given)).status_code == 201
    request_id = await asked(service, ref, "deletion", items=["office_phone"])
    await step(service, request_id, "decide", {"outcome": "granted"})
    fact = (await facts(service))[-1]
    assert (fact.change, fact.items, fact.note) == ("corrected", ("wapl.office_phone",), "deletion")
    assert fact.commitments == {}
    told = (await service.sent_to("tmax-anc"))[-1]
    assert isinstance(told, Projection)
    assert told.processed is not None
    assert sorted(told.processed.items) == ["email", "name", "title"]
    assert await service.shapes(NOTICES) == []
    shown = (await service.http.get(f"/v1/members/{ref}")).json()
    assert shown["profiles"] == [{"service": "wapl", "role": "member", "title": "책임"}]


async def test_records_kept_by_law_are_refused_with_the_statute_and_the_rest_goes(silent: Service) -> None:
    ref = (await silent.sign_up(profiles=[WAPL]))["member_ref"]
    request_id = await asked(silent, ref, "deletion", items=["record.contract", "wapl.title"])
    whole = await step(silent, request_id, "decide", {"outcome": "granted"}, 409)
    assert (whole["code"], whole["items"]) == ("item_required", ["record.contract"])
    partial = {"outcome": "partial", "items": ["title"], "ground": "other_law_names_data"}
    assert (await step(silent, request_id, "decide", partial, 422))["code"] == "statute_required"
    wrong = partial | {"statute": "comms_secrecy_act_15_2"}
    assert (await step(silent, request_id, "decide", wrong, 422))["code"] == "statute_does_not_name_item"
    done = await step(silent, request_id, "decide", partial | {"statute": "ecommerce_act_6"})
    assert (done["outcome"], done["granted_items"]) == ("partial", ["wapl.title"])
    assert "전자상거래" in done["statute"]["ko"]
    shown = (await silent.http.get(f"/v1/members/{ref}")).json()["profiles"]
    assert shown == [{"service": "wapl", "role": "member", "office_phone": "02-555-1234"}]


async def test_a_required_item_goes_with_its_whole_service_only(service: Service) -> None:
    ref = (await service.sign_up(profiles=[HOST]))["member_ref"]
    alone = await asked(service, ref, "deletion", items=["hypermeeting.phone"])
    assert (await step(service, alone, "decide", {"outcome": "granted"}, 409))["code"] == "item_required"
    await step(service, alone, "withdraw")
    whole = await asked(service, ref, "deletion", items=["hypermeeting"])
    await step(service, whole, "decide", {"outcome": "granted"})
    stop = (await service.sent_to("tmax-os"))[-1]
    assert isinstance(stop, Stop)
    assert (stop.stop, stop.roles) == ("sharing_revoked", ("processor",))
    assert (await service.http.get(f"/v1/members/{ref}")).json()["profiles"] == []


async def test_the_deletion_of_everything_is_leaving(service: Service) -> None:
    ref = (await service.sign_up())["member_ref"]
    request_id = await asked(service, ref, "deletion")
    done = await step(service, request_id, "decide", {"outcome": "granted"})
    assert len(done["change_ids"]) == 2
    assert [f.change for f in await facts(service)] == ["signed_up", "withdrawal_requested", "withdrawn"]
    assert await status_of(service, ref) == "withdrawn"
    for affiliate in ("tmax-cloud", "tmax-os", "tmax-anc"):
        stops = [s.stop for s in await service.sent_to(affiliate) if isinstance(s, Stop)]
        assert stops == ["withdrawal_requested", "withdrawn"]


async def test_an_access_answer_has_its_five_blocks_as_json_and_as_a_page(silent: Service) -> None:
    nasty = "<script>alert(1)</script>"
    made = await silent.sign_up(name=nasty, profiles=[HOST], email=f"a{uuid.uuid4().hex[:8]}@example.com")
    ref = made["member_ref"]
    given = {"recipient": "demo-partner", "items": ["email"], "purpose": "P1.1", "basis": "consent"}
    assert (await silent.post(f"/v1/members/{ref}/disclosures", given)).status_code == 201
    request_id = await asked(silent, ref, "access")
    undecided = await silent.http.get(f"{PATH}/{request_id}/answer")
    assert (undecided.status_code, undecided.json()["code"]) == (409, "not_decided")
    await step(silent, request_id, "decide", {"outcome": "granted"})
    answer = await silent.http.get(f"{PATH}/{request_id}/answer", headers={"Accept": "application/json"})
    assert answer.headers["cache-control"] == "no-store"
    blocks = answer.json()["blocks"]
    assert list(blocks) == ["items", "purposes", "periods", "third_parties", "consents"]
    content = {i["item"]: i["content"] for i in blocks["items"]}
    assert (content["name"], content["hypermeeting.phone"]) == (nasty, "010-1234-5678")
    assert "argon2" not in answer.text
    assert [p["id"] for p in blocks["purposes"]] == ["P1.1", "P1.2", "P1.4"]
    given_to = {(t["recipient"]["id"], t["kind"]) for t in blocks["third_parties"]}
    assert ("demo-partner", "third_party") in given_to
    assert ("tmax-os", "affiliate") in given_to
    purposes = [c["purpose"]["id"] for c in blocks["consents"]]
    assert sorted(purposes) == ["collection", "sharing", "sharing", "sharing"]
    assert all(c["given_at"] and c["notice_hash"] and c["notice"] for c in blocks["consents"])
    page = await silent.http.get(f"{PATH}/{request_id}/answer", headers={"Accept": "text/html"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text
    for heading in ("항목과 내용", "목적", "기간", "제3자 제공 현황", "동의한 사실"):
        assert heading in page.text
    done = await step(silent, request_id, "done", {"told_by": "fax"})
    assert done["state"] == "done"


async def test_a_partial_access_shows_the_rest_and_says_what_it_withholds(silent: Service) -> None:
    ref = (await silent.sign_up(profiles=[WAPL | {"friends": ["김", "이"]}]))["member_ref"]
    request_id = await asked(silent, ref, "access", items=["name", "wapl.friends"])
    body = {"outcome": "partial", "items": ["name"], "ground": "third_party_harm"}
    done = await step(silent, request_id, "decide", body)
    assert done["ground"]["statute"] == "35조 4항 2호"
    answer = (await silent.http.get(f"{PATH}/{request_id}/answer")).json()
    assert [i["item"] for i in answer["blocks"]["items"]] == ["name"]
    assert [i["item"] for i in answer["withheld_items"]] == ["wapl.friends"]
    assert answer["objection"]["ko"]


async def test_only_an_access_can_be_put_off_and_its_clock_starts_again(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    other = await asked(silent, ref, "deletion")
    assert (await step(silent, other, "defer", {"reason": "retrieval"}, 422))["code"] == "deferral_not_offered"
    request_id = await asked(silent, ref, "access")
    assert (await step(silent, request_id, "defer", {"reason": "busy"}, 422))["code"] == "deferral_reason_unknown"
    put_off = await step(silent, request_id, "defer", {"reason": "retrieval"})
    assert (put_off["state"], bool(put_off["objection"])) == ("deferred", True)
    assert await clocks(silent, request_id) == [("access_answer", None)]
    told = await step(silent, request_id, "done", {"told_by": "fax"})
    assert (told["state"], await clocks(silent, request_id)) == ("deferred", [("access_answer", "deferred")])
    far = await step(silent, request_id, "defer", {"reason_ended_at": "2999-01-01T00:00:00+09:00"}, 422)
    assert far["code"] == "ended_in_future"
    now = silent.consent.clock().isoformat()
    resumed = await step(silent, request_id, "defer", {"reason_ended_at": now})
    assert resumed["state"] == "verified"
    again = await step(silent, request_id, "defer", {"reason": "system_failure"}, 409)
    assert again["code"] == "already_deferred"
    running = [("access_answer", "deferred"), ("deferred_access", None)]
    assert await clocks(silent, request_id) == running
    await step(silent, request_id, "decide", {"outcome": "granted"})
    assert await clocks(silent, request_id) == running, "nobody has told the person yet"
    await step(silent, request_id, "done", {"told_by": "fax"})
    assert await clocks(silent, request_id) == [("access_answer", "deferred"), ("deferred_access", "granted")]
    entries = [e for e in await outbox(silent, RECEIPTS) if e.get("subject") == request_id]
    assert [e["state"] for e in entries] == [
        *("received", "verified", "deferred", "deferral_told", "deferral_ended", "decided", "done"),
    ]


async def test_what_the_person_ends_needs_no_word_of_ours(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    taken_back = await asked(silent, ref, "correction", changes={"name": "이"}, verified=False)
    await step(silent, taken_back, "withdraw")
    assert await clocks(silent, taken_back) == [("correction_answer", "withdrawn")]
    put_off = await asked(silent, ref, "access")
    await step(silent, put_off, "defer", {"reason": "retrieval"})
    await step(silent, put_off, "defer", {"reason_ended_at": silent.consent.clock().isoformat()})
    await step(silent, put_off, "withdraw")
    assert await clocks(silent, put_off) == [("access_answer", "withdrawn"), ("deferred_access", "withdrawn")]
    lifted = await asked(silent, ref, "suspension")
    await step(silent, lifted, "decide", {"outcome": "granted"})
    assert await clocks(silent, lifted) == [("suspension_answer", None)]
    await step(silent, lifted, "release", VERIFIED)
    assert await clocks(silent, lifted) == [("suspension_answer", "released")]


async def test_a_second_open_request_of_one_type_is_refused_with_the_first(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    first = await asked(silent, ref, "access", verified=False)
    second = await ask(silent, ref, "access")
    assert (second.status_code, second.json()["code"], second.json()["open_id"]) == (409, "duplicate_request", first)
    assert (await ask(silent, ref, "deletion")).status_code == 201
    await step(silent, first, "withdraw")
    assert (await ask(silent, ref, "access")).status_code == 201


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"agent": {"kind": "mandate", "scope": ["access"]}}, "mandate_required"),
        ({"agent": {"kind": "mandate", "document": "form-11", "scope": ["correction"]}}, "scope_excludes_type"),
        ({"agent": {"kind": "mandate", "document": "form-11"}}, "scope_excludes_type"),
        ({"agent": {"kind": "legal_representative", "document": "family-certificate"}}, "mandate_required"),
        ({"received_at": "2999-01-01T00:00:00+09:00"}, "received_in_future"),
        ({"received_at": "2020-01-01T00:00:00+09:00"}, "received_before_policy"),
        ({"changes": {"name": "이"}}, "field_not_for_type"),
        ({"type": "correction"}, "changes_required"),
        ({"type": "correction", "changes": {"name": "이"}, "items": ["name"]}, "field_not_for_type"),
        ({"type": "deletion", "purposes": ["P1.5"]}, "field_not_for_type"),
        ({"items": ["wapl.title"]}, "item_absent"),
        ({"channel": "pigeon"}, "invalid_field"),
        ({"type": "correction", "changes": {"password": "a new password"}}, "invalid_field"),
        ({"type": "correction", "changes": {"profiles": [{"service": "wapl"}]}}, "invalid_profile"),
    ],
)
async def test_an_intake_that_cannot_stand_is_refused(silent: Service, fields: dict[str, Any], code: str) -> None:
    ref = (await silent.sign_up())["member_ref"]
    answer = await ask(silent, ref, "access", **fields)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await silent.pool.fetchval("SELECT count(*) FROM rights_request") == 0
    unknown = await ask(silent, str(uuid.uuid4()), "access")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "member_not_found")


async def test_an_agent_needs_both_persons_verified(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    agent = {"kind": "mandate", "name": "김대리", "document": "form-11", "scope": ["deletion", "suspension"]}
    request_id = await asked(silent, ref, "suspension", agent=agent, verified=False)
    one = await step(silent, request_id, "verify", VERIFIED, 422)
    assert one["code"] == "agent_check_required"
    assert await status_of(silent, ref) == "active"
    await step(silent, request_id, "verify", VERIFIED | {"agent_method": "id_card"})
    fact = await silent.pool.fetchval("SELECT fact FROM change WHERE member_ref = $1 ORDER BY seq DESC LIMIT 1", ref)
    assert (fact["change"], fact["actor"], fact["channel"]) == ("suspended", "agent", "fax")
    row = await silent.pool.fetchrow("SELECT * FROM rights_request WHERE request_id = $1", request_id)
    assert "김대리".encode() not in row["agent_name_sealed"]


async def test_a_guardian_asks_for_a_child(silent: Service) -> None:
    born = silent.consent.clock().replace(year=silent.consent.clock().year - 10, day=1).date().isoformat()
    ref = (await silent.sign_up(birth_date=born))["member_ref"]
    agent = {"kind": "legal_representative", "document": "family-certificate"}
    request_id = await asked(silent, ref, "correction", agent=agent, changes={"name": "김하나"}, verified=False)
    await step(silent, request_id, "verify", VERIFIED | {"agent_method": "id_card"})
    await step(silent, request_id, "decide", {"outcome": "granted"})
    fact = await silent.pool.fetchval("SELECT fact FROM change WHERE member_ref = $1 ORDER BY seq DESC LIMIT 1", ref)
    assert (fact["change"], fact["actor"]) == ("corrected", "guardian")


async def test_a_guardian_asks_for_a_child_by_declaration_after_it_was_confirmed_too(silent: Service) -> None:
    """PIPA 38(2): a child without a birth date stops being one by no confirmation of its guardian."""
    ref = (await silent.sign_up(age_declaration=False))["member_ref"]
    named = {"name": "홍부모", "contact": "010-9999-0000"}
    body = {"method": "paper", "guardian": named}
    assert (await silent.post(f"/v1/members/{ref}/guardian/confirm", body)).status_code == 200
    agent = {"kind": "legal_representative", "document": "family-certificate"}
    await asked(silent, ref, "correction", agent=agent, changes={"name": "김하나"}, verified=False)


async def test_an_adult_who_mistyped_the_year_is_corrected_by_request_and_waits_no_more(service: Service) -> None:
    """Clause 5.1, PIPA 36(1): the birth date too. What it consented to at sign-up was its own, and is told so (E4)."""
    wishes = {"collection": True, "sharing": {"tmax-os": True}, "marketing": {"use": True}}
    ref = (await service.sign_up(birth_date="2020-01-01", consents=wishes))["member_ref"]
    assert await service.sent_to("tmax-os") == []
    request_id = await asked(service, ref, "correction", changes={"birth_date": "2000-01-01"})
    decided = await step(service, request_id, "decide", {"outcome": "granted"})
    assert (decided["items"], len(decided["change_ids"])) == (["birth_date"], 2)
    assert await status_of(service, ref) == "active"
    (sent,) = await service.sent_to("tmax-os")
    assert isinstance(sent, Projection)
    told = [(f.change, f.note) for f in await facts(service)][-2:]
    assert told == [("corrected", None), ("released", "birth_date_corrected")]
    results = "SELECT sender FROM message WHERE member_ref = $1 AND kind = 'marketing_result' ORDER BY sender"
    assert [row["sender"] for row in await service.pool.fetch(results, ref)] == ["tmax-anc", "tmax-cloud", "tmax-os"]


async def test_a_birth_date_corrected_to_a_childs_takes_everything_back_until_the_guardian_consents(
    service: Service,
) -> None:
    ref = (await service.sign_up(profiles=[HOST]))["member_ref"]
    request_id = await asked(service, ref, "correction", changes={"birth_date": "2020-01-01"})
    await step(service, request_id, "decide", {"outcome": "granted"})
    assert await status_of(service, ref) == "pending_guardian"
    for affiliate in ("tmax-cloud", "tmax-os", "tmax-anc"):
        last = (await service.sent_to(affiliate))[-1]
        assert isinstance(last, Stop)
        assert last.stop == "sharing_revoked"
    body = {"method": "paper", "guardian": {"name": "홍부모", "contact": "010-9999-0000"}}
    assert (await service.post(f"/v1/members/{ref}/guardian/confirm", body)).status_code == 200
    assert isinstance((await service.sent_to("tmax-os"))[-1], Projection)


async def test_a_birth_date_to_come_is_no_correction(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    refused = await ask(silent, ref, "correction", changes={"birth_date": "2999-01-01"})
    assert (refused.status_code, refused.json()["code"]) == (422, "birth_date_in_future")
    assert refused.json()["errors"][0]["pointer"] == "/changes/birth_date"


async def test_a_request_at_an_affiliate_is_routed_here_and_its_result_fans_out(service: Service) -> None:
    made = await service.sign_up(profiles=[HOST], consents={"collection": True, "sharing": {"tmax-os": True}})
    ref = made["member_ref"]
    os, anc = (bearer(a_token(a, "affiliate")) for a in ("tmax-os", "tmax-anc"))
    changes = {"name": "김정정"}
    stranger = await ask(service, ref, "correction", changes=changes, headers=anc)
    assert (stranger.status_code, stranger.json()["code"]) == (404, "member_not_found")
    request_id = await asked(service, ref, "correction", changes=changes, headers=os, verified=False)
    own = await service.http.get(f"{PATH}/{request_id}", headers=os)
    assert (own.status_code, own.json()["received_by"]) == (200, "tmax-os")
    assert (await service.http.get(f"{PATH}/{request_id}", headers=anc)).status_code == 404
    for verb in ("verify", "decide", "withdraw"):
        assert (await service.post(f"{PATH}/{request_id}/{verb}", VERIFIED, headers=os)).status_code in {403, 422}
    assert (await service.http.get(f"{PATH}/{request_id}/answer", headers=os)).status_code == 403
    hidden = await ask(service, ref, "correction", changes=changes, headers=os)
    assert (hidden.json()["code"], "open_id" in hidden.json()) == ("duplicate_request", False)
    await step(service, request_id, "verify", VERIFIED, **STAFF)
    await step(service, request_id, "decide", {"outcome": "granted"}, **STAFF)
    for affiliate in ("tmax-cloud", "tmax-os"):
        told = (await service.sent_to(affiliate))[-1]
        assert isinstance(told, Projection)
        assert told.member is not None
        assert told.member.name == "김정정"
    entries = [e for e in await service.shapes(RECEIPTS) if isinstance(e, RegisterEntry) and e.subject == request_id]
    assert [(e.state, e.actor) for e in entries] == [
        ("received", "service"),
        ("verified", "staff"),
        ("decided", "staff"),
    ]
    assert entries[0].codes["received_by"] == "tmax-os"


async def test_a_member_asks_for_itself_and_sees_its_own_only(silent: Service) -> None:
    mine, other = [(await silent.sign_up())["member_ref"] for _ in range(2)]
    me, sre = bearer(a_token(mine, "member")), bearer(a_token("ops", "sre"))
    backdated = {"received_at": "2022-03-07T10:00:00+09:00", "channel": "web"}
    answer = await ask(silent, mine, "access", headers=me, **backdated)
    assert answer.status_code == 201
    assert answer.json()["due_on"] > "2022-03-17", "a member's clock is not ours"
    by_fax = await ask(silent, mine, "deletion", headers=me)
    assert by_fax.json()["code"] == "channel_not_yours"
    assert (await ask(silent, other, "access", channel="web", headers=me)).status_code == 404
    theirs = await asked(silent, other, "access")
    assert (await silent.http.get(f"{PATH}/{theirs}", headers=me)).status_code == 404
    listed = (await silent.http.get(PATH, headers=me)).json()["requests"]
    assert [r["member_ref"] for r in listed] == [mine]
    assert len((await silent.http.get(f"{PATH}?state=verified", headers=STAFF)).json()["requests"]) == 1
    assert (await silent.http.get(f"{PATH}?member_ref={other}", headers=me)).status_code == 404
    for verb, body in (("verify", VERIFIED), ("decide", {"outcome": "granted"}), ("defer", {"reason": "retrieval"})):
        await step(silent, answer.json()["id"], verb, body, 403, **me)
    assert (await silent.http.get(PATH, headers=sre)).status_code == 403
    assert (await step(silent, answer.json()["id"], "withdraw", None, **me))["state"] == "withdrawn"


async def test_a_step_sent_twice_happens_once(service: Service) -> None:
    ref = (await service.sign_up())["member_ref"]
    request_id, key = await asked(service, ref, "suspension", verified=False), str(uuid.uuid4())
    first, second = [await service.post(f"{PATH}/{request_id}/verify", VERIFIED, key=key) for _ in range(2)]
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert [f.change for f in await facts(service)] == ["signed_up", "suspended"]
    assert (await step(service, request_id, "verify", VERIFIED, 409))["code"] == "wrong_state"


async def test_a_document_is_kept_sealed_and_read_back_by_those_who_decide(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    request_id = await asked(silent, ref, "access", verified=False)
    content = b"%PDF-1.7 " + bytes(range(256)) * 700
    digest = hashlib.sha256(content).hexdigest()
    path = f"{PATH}/{request_id}/evidence"

    async def attach(content: bytes, kind: str = "form-11", media_type: str = "application/pdf") -> httpx.Response:
        headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": media_type}
        return await silent.http.post(path, params={"kind": kind}, content=content, headers=headers)

    added = await attach(content)
    assert (added.status_code, added.json()["sha256"]) == (201, digest)
    again = await attach(content)
    assert (again.status_code, again.json()) == (201, added.json()), "kept once, under one id"
    assert (await attach(bytes(200_001))).json()["code"] == "evidence_too_large"
    assert (await attach(b"x", kind="selfie")).json()["code"] == "document_unknown"
    assert (await attach(b"x", media_type="text/html")).json()["code"] == "media_type_unknown"
    (listed,) = (await silent.http.get(path)).json()["evidence"]
    assert (listed["kind"], listed["size"], listed["sha256"]) == ("form-11", len(content), digest)
    sealed = await silent.pool.fetchval("SELECT sealed FROM rights_evidence")
    assert b"%PDF" not in sealed
    read = await silent.http.get(f"{path}/{listed['evidence_id']}", headers=STAFF)
    assert (read.content, read.headers["content-disposition"]) == (content, "attachment")
    me = bearer(a_token(ref, "member"))
    assert (await silent.http.get(f"{path}/{listed['evidence_id']}", headers=me)).status_code == 403
    await silent.consent.keyring.shred(ref)
    gone = await silent.http.get(f"{path}/{listed['evidence_id']}", headers=STAFF)
    assert (gone.status_code, gone.json()["code"]) == (410, "destroyed")

"""Registers over HTTP: provision to investigators (3.3), processors (4), inquiries (10.2), the policy's page."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
import pytest_asyncio

from schemas.topics import NOTICES, RECEIPTS
from services.consent import upkeep
from services.consent.registers import processors
from services.policy.model import FILES, parse
from services.runtime.clock import KST
from tests.integration.consent.harness import Service, a_sign_up, a_token, bearer
from tests.integration.consent.pinned import Pinned, as_of, emptied, outbox

AT = datetime(2026, 11, 23, 10, tzinfo=KST)
COMPLIANCE = bearer(a_token("officer-1", "compliance"))
CPO = bearer(a_token("cpo-1", "cpo"))
OTHERS = {
    "service": bearer(a_token("shop", "service")),
    "sre": bearer(a_token("sre-1", "sre")),
    "member": bearer(a_token(str(uuid.uuid4()), "member")),
    "third_party": bearer(a_token("demo-partner", "third_party")),
    "affiliate": bearer(a_token("tmax-os", "affiliate")),
}
TABLES = ("investigation", "investigation_report", "processor_check", "processor_told", "processor_change", "inquiry")


@pytest_asyncio.fixture
async def quiet(silent: Service) -> Service:
    await emptied(silent, *TABLES, "duty", "message, message_attempt, message_reconfirmation")
    return silent


def a_request(**changes: Any) -> dict[str, Any]:
    """A written request of the police under article 83 for name and telephone; values given replace."""
    paper = {
        "kind": "written_request",
        "number": "2026-형제-1234",
        "issued_on": "2026-11-20",
        "states": ["reason", "relation", "scope"],
        "names": ["name", "phone", "ip"],
    } | changes.pop("paper", {})
    return {
        "agency": "police",
        "basis": "telecom_business_act_83",
        "purpose": "investigation",
        "paper": paper,
        "items": ["name", "phone"],
        "received_at": "2026-11-23T09:00:00+09:00",
    } | changes


async def entered(then: Pinned, **changes: Any) -> dict[str, Any]:
    answer = await then.post("/v1/investigation-requests", a_request(**changes))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def decided(then: Pinned, ref: str, *items: str) -> httpx.Response:
    body = {"provide": list(items), "form": "electronic", "restrictions": ["purpose_only", "no_onward"]}
    return await then.post(f"/v1/investigation-requests/{ref}/decide", body)


async def the_duty(service: Service, kind: str) -> Mapping[str, Any]:
    row: Mapping[str, Any] = await service.pool.fetchrow("SELECT * FROM duty WHERE kind = $1", kind)
    return row


async def test_what_the_statute_lists_may_be_given_and_is_kept_for_seven_years(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    async with as_of(quiet, AT, "compliance", sub="officer-1") as then:
        found = await entered(then, member_ref=member, items=["name", "phone", "ip", "password", "address"])
        assert (found["state"], found["allowed"]) == ("open", ["name", "phone"])
        assert found["denied"] == {"ip": "outside_statute", "password": "never", "address": "outside_paper"}
        refused = await decided(then, found["id"], "name", "ip")
        assert (refused.status_code, refused.json()["code"]) == (422, "item_not_allowed")
        given = await decided(then, found["id"], "name")
        assert given.status_code == 200, given.text
        again = await decided(then, found["id"], "phone")
        assert (again.status_code, again.json()["code"]) == (409, "already_decided")
        shown = (await then.http.get(f"/v1/investigation-requests/{found['id']}")).json()
    assert (shown["state"], shown["provided"], shown["keep_until"]) == ("provided", ["name"], "2033-11-23")
    assert (shown["decided_by"], shown["form"], shown["member_ref"]) == ("officer-1", "electronic", member)
    assert shown["restrictions"] == ["purpose_only", "no_onward"]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"basis": "pipa_18_2_7"}, "no_legal_basis"),
        ({"basis": "cooperation_letter", "items": ["usage"]}, "no_legal_basis"),
        ({"agency": "prosecution"}, "agency_not_entitled"),
        ({"paper": {"states": ["reason"]}}, "paper_incomplete"),
        ({"basis": "communication_secrets_13", "items": ["ip"]}, "paper_not_accepted"),
        ({"basis": "warrant", "paper": {"kind": "warrant", "valid_until": "2026-11-22"}}, "paper_expired"),
    ],
)
async def test_a_request_without_basis_or_paper_is_denied_there_and_then(
    quiet: Service, changes: dict[str, Any], refusal: str
) -> None:
    member = (await quiet.sign_up())["member_ref"]
    async with as_of(quiet, AT, "cpo") as then:
        found = await entered(then, member_ref=member, **changes)
        assert (found["state"], found["refusal"], found["allowed"]) == ("denied", refusal, [])
        assert found["keep_until"] == "2033-11-23"
        late = await decided(then, found["id"])
        assert late.json()["code"] == "already_decided"


async def test_nothing_can_be_given_of_a_person_nobody_named(quiet: Service) -> None:
    async with as_of(quiet, AT, "compliance") as then:
        found = await entered(then)
        assert (found["state"], found["denied"]) == ("denied", {"name": "not_held", "phone": "not_held"})
        missing = await then.post("/v1/investigation-requests", a_request(member_ref=str(uuid.uuid4())))
        assert (missing.status_code, missing.json()["code"]) == (404, "member_not_found")
        unknown = await then.post("/v1/investigation-requests", a_request(items=["shoe_size"]))
        assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_item")
        early = a_request(received_at="2026-11-23T10:00:01+09:00")
        assert (await then.post("/v1/investigation-requests", early)).json()["code"] == "received_in_future"


async def test_a_request_can_be_declined(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    async with as_of(quiet, AT, "cpo") as then:
        found = await entered(then, member_ref=member)
        assert (await decided(then, found["id"])).json()["state"] == "denied"


async def test_a_warrant_that_has_run_out_opens_nothing_any_more(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    paper = {"kind": "warrant", "states": [], "valid_until": "2026-11-25"}
    asked = {"basis": "warrant", "paper": paper, "items": ["ip"], "member_ref": member}
    async with as_of(quiet, AT, "compliance") as then:
        first, second = [(await entered(then, **asked))["id"] for _ in range(2)]
    async with as_of(quiet, datetime(2026, 11, 25, 23, 59, 59, tzinfo=KST), "compliance") as then:
        assert (await decided(then, first, "ip")).json()["provided"] == ["ip"]
    async with as_of(quiet, datetime(2026, 11, 26, tzinfo=KST), "compliance") as then:
        late = await decided(then, second, "ip")
        assert (late.status_code, late.json()["code"]) == (422, "paper_expired")
        assert late.json()["errors"] == [{"pointer": "/provide", "code": "paper_expired"}]
        shown = (await then.http.get(f"/v1/investigation-requests/{second}")).json()
        assert (shown["state"], shown["provided"]) == ("open", [])
        assert (await decided(then, second)).json()["state"] == "denied"


async def test_only_officers_see_the_register_and_nobody_else_is_told(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    before = await quiet.pool.fetchval("SELECT max(position) FROM outbox")
    async with as_of(quiet, AT, "compliance") as then:
        found = await entered(then, member_ref=member)
        await decided(then, found["id"], "name")
    path = f"/v1/investigation-requests/{found['id']}"
    for headers in OTHERS.values():
        reads = [path, "/v1/investigation-requests", "/v1/investigation-reports?half=2026H2"]
        assert [(await quiet.http.get(p, headers=headers)).status_code for p in reads] == [403] * 3
        bodies = {path + "/decide": {"provide": [], "form": "copy"}, "/v1/investigation-requests": a_request()}
        assert {(await quiet.post(p, b, headers=headers)).status_code for p, b in bodies.items()} == {403}
    disclosures = (await quiet.http.get(f"/v1/members/{member}/disclosures")).json()["disclosures"]
    assert "police" not in str(disclosures)
    assert {d["kind"] for d in disclosures} == {"affiliate"}
    after = await quiet.pool.fetch("SELECT aggregatetype, aggregateid, type FROM outbox WHERE position > $1", before)
    assert {(r["aggregatetype"], r["aggregateid"], r["type"]) for r in after} == {
        (RECEIPTS, found["id"], "kr.dongui.register.v1")
    }
    assert await outbox(quiet, NOTICES) == []
    assert await quiet.pool.fetchval("SELECT count(*) FROM message") == 0
    stored = await quiet.pool.fetch("SELECT body FROM idempotency WHERE caller = 'shop'")
    assert all(member not in str(row["body"]) for row in stored if "agency" in row["body"])


async def test_the_log_keeps_a_digest_of_each_entry_and_names_nobody(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    async with as_of(quiet, AT, "compliance") as then:
        found = await entered(then, member_ref=member)
        await decided(then, found["id"], "name")
        shown = (await then.http.get(f"/v1/investigation-requests/{found['id']}")).json()
    entries = [e for e in await outbox(quiet, RECEIPTS) if e.get("kind") == "restricted"]
    assert [(e["state"], e["subject"], e.get("member_ref")) for e in entries] == [("entered", found["id"], None)] * 2
    assert member not in str(entries)
    assert "police" not in str(entries)
    row = await quiet.pool.fetchrow("SELECT salt FROM investigation WHERE investigation_id = $1", found["id"])
    assert entries[-1]["codes"] == {"sha256": proof(shown, salt=row["salt"].hex())}
    assert row["salt"].hex() not in str(entries) + str(shown) + str(found)
    assert proof(shown) not in str(entries), "who reads the register and the log can try no value"


def proof(shown: Mapping[str, Any], **salt: str) -> str:
    """The digest of a register row as docs/registers.md says it, from what the API shows."""
    left_out = ("id", "keep_until", "paper_received_at")
    proven = {k: v for k, v in shown.items() if k not in left_out} | {"investigation_id": shown["id"]} | salt
    for name in ("received_at", "decided_at"):
        proven[name] = datetime.fromisoformat(proven[name]).astimezone(UTC).isoformat()
    return hashlib.sha256(orjson.dumps(proven, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def test_every_entry_has_a_salt_of_its_own_and_a_row_from_before_is_proven_as_it_was(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    async with as_of(quiet, AT, "compliance") as then:
        first, second = [await entered(then, member_ref=member) for _ in range(2)]
        salts = [row["salt"] for row in await quiet.pool.fetch("SELECT salt FROM investigation")]
        assert [len(salt) for salt in salts] == [32, 32]
        assert salts[0] != salts[1]
        owner = await asyncpg.connect(quiet.databases.owner_dsn("consent"))
        await owner.execute("UPDATE investigation SET salt = NULL WHERE investigation_id = $1", first["id"])
        await owner.close()
        for ref in (first["id"], second["id"]):
            assert (await decided(then, ref, "name")).status_code == 200
        shown = (await then.http.get("/v1/investigation-requests")).json()["requests"]
    assert all("salt" not in one for one in shown)
    told = [e["codes"]["sha256"] for e in await outbox(quiet, RECEIPTS) if e.get("kind") == "restricted"]
    assert told[-2] == proof(shown[0])
    assert told[-1] != proof(shown[1])


async def test_after_an_urgent_request_the_paper_is_owed_and_only_officers_see_that(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    async with as_of(quiet, AT, "compliance") as then:
        found = await entered(then, member_ref=member, paper={"kind": "urgent_request"})
        await decided(then, found["id"], "name")
        seen = (await then.http.get("/v1/duties")).json()["duties"]
        assert [d["due_on"] for d in seen if d["kind"] == "investigation_paper"] == ["2026-11-30"]
        for role in ("service", "sre"):
            hidden = (await then.http.get("/v1/duties", headers=OTHERS[role])).json()["duties"]
            assert "investigation_paper" not in {d["kind"] for d in hidden}
        path = f"/v1/investigation-requests/{found['id']}/paper"
        assert (await then.post(path, {"number": "2026-영장-7"})).status_code == 200
        assert (await then.post(path, {"number": "2026-영장-8"})).json()["code"] == "no_paper_awaited"
    assert (await the_duty(quiet, "investigation_paper"))["outcome"] == "received"


async def test_each_half_year_is_counted_and_reported_within_thirty_days(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    async with as_of(quiet, AT, "compliance") as then:
        for basis in ("telecom_business_act_83", "pipa_18_2_7"):
            found = await entered(then, member_ref=member, basis=basis)
            await decided(then, found["id"], "name")
        open_one = await entered(then, member_ref=member)
        early = await then.post("/v1/investigation-reports", {"half": "2026H2", "reference": "REP-1"})
        assert (early.status_code, early.json()["code"]) == (409, "half_not_over")
    async with as_of(quiet, datetime(2027, 1, 1, tzinfo=KST), "compliance") as then:
        await decided(then, open_one["id"], "name")
        told = (await then.http.get("/v1/investigation-reports?half=2026H2")).json()
        assert (told["requests"], told["provided"], told["denied"], told["due_on"]) == (2, 1, 1, "2027-02-01")
        assert told["lines"] == [
            {"basis": "pipa_18_2_7", "agency": "police", "requests": 1, "provided": 0, "denied": 1, "persons": 0},
            {
                "basis": "telecom_business_act_83",
                "agency": "police",
                "requests": 1,
                "provided": 1,
                "denied": 0,
                "persons": 1,
            },
        ]
        next_half = (await then.http.get("/v1/investigation-reports?half=2027H1")).json()
        assert (next_half["provided"], next_half["due_on"]) == (1, "2027-07-30")
        filed = await then.post("/v1/investigation-reports", {"half": "2026H2", "reference": "REP-1"})
        assert filed.status_code == 201, filed.text
        twice = await then.post("/v1/investigation-reports", {"half": "2026H2", "reference": "REP-2"})
        assert twice.json()["code"] == "report_filed"
        for half in ("2026H3", "9999H2", "0000H1"):
            assert (await then.http.get(f"/v1/investigation-reports?half={half}")).status_code == 422
    rows = await quiet.pool.fetch(
        "SELECT due_on, outcome FROM duty WHERE kind = 'investigation_report' ORDER BY due_on"
    )
    assert [tuple(r) for r in rows] == [(date(2027, 2, 1), "reported"), (date(2027, 7, 30), None)]


async def test_a_lost_answer_is_repeated_and_enters_nothing_twice(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    key = {"Idempotency-Key": str(uuid.uuid4())}
    async with as_of(quiet, AT, "compliance") as then:
        body = a_request(member_ref=member)
        first, second = [await then.post("/v1/investigation-requests", body, headers=key) for _ in range(2)]
        assert first.json() == second.json()
        assert len((await then.http.get("/v1/investigation-requests")).json()["requests"]) == 1


async def test_the_process_cannot_unmake_an_entry(quiet: Service) -> None:
    async with as_of(quiet, AT, "compliance") as then:
        await entered(then)
    for statement in ("DELETE FROM investigation", "UPDATE investigation SET agency = 'x', requested = '{}'"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await quiet.pool.execute(statement)


async def test_anybody_with_a_token_reads_the_list_of_processors(quiet: Service) -> None:
    for headers in OTHERS.values():
        answer = await quiet.http.get("/v1/processors", headers=headers)
        assert answer.status_code == 200
    (cloud, _, anc) = answer.json()["processors"]
    assert (cloud["id"], cloud["ko"], anc["service"]) == ("tmax-cloud", "㈜티맥스클라우드", "wapl")
    assert anc["contract"] == {"reference": "DPA-2021-TA", "since": "2021-02-22", "until": "2031-02-21"}
    assert [t["ko"] for t in anc["tasks"] if t["marketing"]] == ["별도 이벤트 업무 처리"]
    assert (await quiet.http.get("/v1/processors", headers={"Authorization": ""})).status_code == 401


async def test_a_check_counts_to_the_next_a_year_on(quiet: Service) -> None:
    await upkeep.look(quiet.consent, AT)
    path = "/v1/processors/tmax-os/checks"
    body = {"outcome": "satisfactory", "reference": "AUD-2026-4"}
    async with as_of(quiet, datetime(2027, 3, 2, 9, tzinfo=KST), "cpo") as then:
        due = {p["id"]: p["check_due_on"] for p in (await then.http.get("/v1/processors")).json()["processors"]}
        assert due["tmax-os"] == "2027-11-23"
        answer = await then.post(path, body)
        assert (answer.status_code, answer.json()["next_due_on"]) == (201, "2028-03-02")
        older = await then.post(path, body | {"checked_at": "2026-03-02T09:00:00+09:00"})
        assert "next_due_on" not in older.json()
        later = await then.post(path, body | {"checked_at": "2027-03-02T09:00:01+09:00"})
        assert later.json()["code"] == "checked_in_future"
        assert (await then.post("/v1/processors/nobody/checks", body)).status_code == 404
        assert (await then.post(path, body, headers=OTHERS["service"])).status_code == 403
        due = {p["id"]: p["check_due_on"] for p in (await then.http.get("/v1/processors")).json()["processors"]}
        assert (due["tmax-os"], due["tmax-anc"]) == ("2028-03-02", "2027-11-23")
    await upkeep.look(quiet.consent, AT)
    open_ones = await quiet.pool.fetchval(
        "SELECT count(*) FROM duty WHERE kind = 'processor_check' AND closed_at IS NULL"
    )
    assert open_ones == 3


async def test_members_are_told_once_when_a_marketing_task_changes(
    quiet: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "PAGE", 2)
    members = [(await quiet.sign_up())["member_ref"] for _ in range(5)]
    left = members.pop()
    await quiet.post(f"/v1/members/{left}/withdrawal")
    await quiet.post(f"/v1/members/{left}/withdrawal/confirm")
    await upkeep.look(quiet.consent, AT)
    told = "SELECT member_ref FROM message WHERE kind = 'processor_change'"
    assert await quiet.pool.fetch(told) == [], "what was there when they joined is no change"
    texts = {n: files("services.policy").joinpath(f"rules/{n}.toml").read_text(encoding="utf-8") for n in FILES}
    changed = texts["processors"].replace("별도 이벤트 업무 처리", "이벤트와 경품 발송", 1)
    consent = replace(quiet.consent, rules=parse(texts | {"processors": changed}))
    for _ in range(2):
        await upkeep.look(consent, AT + timedelta(days=1))
    assert sorted(r["member_ref"] for r in await quiet.pool.fetch(told)) == sorted(members)
    data = await quiet.pool.fetchval("SELECT DISTINCT data FROM message WHERE kind = 'processor_change'")
    assert data == {"processor": "tmax-os", "changed_on": "2026-11-24"}
    (entry,) = [e for e in await outbox(quiet, RECEIPTS) if e.get("kind") == "processor"]
    assert (entry["state"], entry["codes"]) == ("told", {"processor": "tmax-os"})


async def test_an_inquiry_goes_to_the_officer_sealed_and_comes_back_answered(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    mine = bearer(a_token(member, "member"))
    question, reply = "제 전화번호 010-1234-5678을\n왜 보관하나요?", "호스트 기능에 필요해 보관합니다."
    async with as_of(quiet, AT) as then:
        asked = await then.post("/v1/inquiries", {"subject": "complaint", "text": question}, headers=mine)
        assert asked.status_code == 201, asked.text
        told = asked.json()
        assert (told["state"], told["routed_to"], told["due_on"]) == ("open", "cpo", "2026-12-03")
        path = f"/v1/inquiries/{told['id']}"
        (listed,) = (await then.http.get("/v1/inquiries?state=open", headers=CPO)).json()["inquiries"]
        assert "question" not in listed
        assert (await then.http.get(path, headers=CPO)).json()["question"] == question
        answered = await then.post(path + "/answer", {"text": reply}, headers=CPO)
        assert answered.status_code == 200, answered.text
        assert (await then.post(path + "/answer", {"text": reply}, headers=CPO)).json()["code"] == "inquiry_answered"
        assert (await then.http.get(path, headers=mine)).json()["answer"] == reply
        assert (await then.http.get(path, headers=OTHERS["member"])).status_code == 404
        assert (await then.http.get(path, headers=OTHERS["sre"])).status_code == 403
        assert (await then.post(path + "/answer", {"text": reply}, headers=OTHERS["service"])).status_code == 403
    everything = str(
        [tuple(r) for t in ("inquiry", "idempotency", "outbox", "message", "duty") for r in await rows(quiet, t)]
    )
    assert all(clear not in everything for clear in ("010-1234-5678", "보관하나요", "호스트 기능"))
    assert (await the_duty(quiet, "inquiry_answer"))["closed_at"] is None, "until the member is told (test_messages)"
    message = await quiet.pool.fetchrow("SELECT data FROM message WHERE kind = 'inquiry_answer'")
    assert message["data"] == {"inquiry_id": told["id"], "answered_on": "2026-11-23"}
    entries = [e for e in await outbox(quiet, RECEIPTS) if e.get("kind") == "inquiry"]
    assert [(e["state"], e["member_ref"]) for e in entries] == [
        ("received", member),
        ("read", member),
        ("answered", member),
    ]


async def test_whoever_but_the_member_reads_an_inquiry_leaves_an_entry(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    mine, there = bearer(a_token(member, "member")), bearer(a_token("kim", "compliance", access_point="192.0.2.7"))
    async with as_of(quiet, AT) as then:
        body = {"subject": "privacy", "text": "문의합니다."}
        path = f"/v1/inquiries/{(await then.post('/v1/inquiries', body, headers=mine)).json()['id']}"
        for headers, status in ((mine, 200), (OTHERS["member"], 404), (OTHERS["sre"], 403)):
            assert (await then.http.get(path, headers=headers)).status_code == status
        assert (await then.http.get("/v1/inquiries", headers=CPO)).status_code == 200
        assert await read_by(quiet) == []
        for headers in (there, OTHERS["service"]):
            assert (await then.http.get(path, headers=headers)).json()["question"] == "문의합니다."
    assert await read_by(quiet) == [
        (path.rpartition("/")[2], member, "staff", {"by": "kim", "access_point": "192.0.2.7"}),
        (path.rpartition("/")[2], member, "service", {"by": "shop"}),
    ]


async def read_by(service: Service) -> list[tuple[Any, ...]]:
    """Who read an inquiry, as the log is told."""
    entries = [e for e in await outbox(service, RECEIPTS) if (e.get("kind"), e.get("state")) == ("inquiry", "read")]
    return [(e["subject"], e["member_ref"], e["actor"], e["codes"]) for e in entries]


async def dealt_with(then: Pinned, member: str, subject: str) -> str:
    """An inquiry of a member that is answered on the same day; return its id."""
    asked = {"subject": subject, "member_ref": member, "text": "해지했는데 또 청구되었습니다.", "reference": "CALL-7"}
    made = await then.post("/v1/inquiries", asked)
    answer = await then.post(f"/v1/inquiries/{made.json()['id']}/answer", {"text": "환불했습니다."}, headers=CPO)
    assert answer.status_code == 200, answer.text
    return str(made.json()["id"])


async def test_a_complaint_that_was_dealt_with_is_kept_for_three_years_from_that_day(quiet: Service) -> None:
    member = (await quiet.sign_up(name="김불만", email="complaint@example.com"))["member_ref"]
    async with as_of(quiet, AT) as then:
        await dealt_with(then, member, "privacy")
        ref = await dealt_with(then, member, "complaint")
        (record,) = (await then.http.get(f"/v1/members/{member}/records")).json()["records"]
    # 3 years from Monday 2026-11-23: Friday 2029-11-23.
    assert (record["class"], record["destroy_on"], record["rule"]) == ("dispute", "2029-11-24", "ecommerce.dispute")
    assert record["party"] == {"name": "김불만", "email": "complaint@example.com"}
    assert record["fields"] == {
        "complaint_id": ref,
        "subject": "complaint",
        "reference": "CALL-7",
        "opened_at": "2026-11-23T10:00:00+09:00",
        "complaint": "해지했는데 또 청구되었습니다.",
        "answer": "환불했습니다.",
    }
    assert all("청구" not in str(tuple(row)) for row in await rows(quiet, "statutory_record"))
    (entry,) = [e for e in await outbox(quiet, RECEIPTS) if e.get("kind") == "statutory_record"]
    assert (entry["state"], entry["actor"], entry["member_ref"]) == ("recorded", "staff", member)
    assert entry["codes"] == {"class": "dispute", "rule": "ecommerce.dispute", "destroy_on": "2029-11-24"}


async def test_a_complaint_of_somebody_who_has_left_is_kept_while_its_record_can_still_follow(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    for step in ("withdrawal", "withdrawal/confirm"):
        await quiet.post(f"/v1/members/{member}/{step}")
    async with as_of(quiet, AT) as then:
        await dealt_with(then, member, "remedy")
        (record,) = (await then.http.get(f"/v1/members/{member}/records")).json()["records"]
        assert (record["class"], record["party"], record["fields"]["subject"]) == ("dispute", {}, "remedy")
        await quiet.pool.execute("UPDATE erasure SET state = 'executing' WHERE member_ref = $1", member)
        await dealt_with(then, member, "remedy")
    assert await quiet.pool.fetchval("SELECT count(*) FROM statutory_record WHERE member_ref = $1", member) == 1


async def rows(service: Service, table: str) -> list[asyncpg.Record]:
    found: list[asyncpg.Record] = await service.pool.fetch(f"SELECT * FROM {table}")
    return found


async def test_the_text_of_an_inquiry_dies_with_the_members_key(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    body = {"subject": "privacy", "member_ref": member, "text": "문의합니다."}
    ref = (await quiet.post("/v1/inquiries", body)).json()["id"]
    await quiet.consent.keyring.shred(member)
    shown = (await quiet.http.get(f"/v1/inquiries/{ref}", headers=CPO)).json()
    assert (shown["question"], shown["subject"]) == (None, "privacy")
    assert (await quiet.post("/v1/inquiries", body)).json()["code"] == "member_not_found"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"subject": "privacy", "text": "회원이 아닙니다"}, "text_needs_member"),
        ({"subject": "privacy"}, "text_or_reference_required"),
        ({"subject": "weather", "reference": "MAIL-1"}, "unknown_subject"),
        ({"subject": "privacy", "reference": "MAIL-1", "received_at": "2099-01-01T00:00:00Z"}, "received_in_future"),
        ({"subject": "privacy", "reference": "MAIL-1", "received_at": "0001-01-01T00:00:00Z"}, "invalid_field"),
        ({"subject": "privacy", "reference": "MAIL-1", "email": "a@example.com"}, "invalid_field"),
    ],
)
async def test_an_inquiry_that_says_too_much_or_too_little_is_refused(
    quiet: Service, body: dict[str, Any], code: str
) -> None:
    answer = await quiet.post("/v1/inquiries", body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert "회원이 아닙니다" not in answer.text


async def test_an_inquiry_of_someone_who_is_no_member_is_a_reference_with_a_clock(quiet: Service) -> None:
    body = {"subject": "remedy", "channel": "phone", "reference": "CALL-77", "received_at": "2026-11-04T09:00:00+09:00"}
    async with as_of(quiet, AT, "cpo") as then:
        told = (await then.post("/v1/inquiries", body)).json()
        assert told["due_on"] == "2026-11-16"  # raw 11-14 is a Saturday
        path = f"/v1/inquiries/{told['id']}/answer"
        assert (await then.post(path, {"text": "답변"})).json()["code"] == "text_needs_member"
        assert (await then.post(path, {})).status_code == 200
    assert (await the_duty(quiet, "inquiry_answer"))["outcome"] == "answered", "the answer went where they asked"
    assert await quiet.pool.fetchval("SELECT count(*) FROM message") == 0


async def test_a_member_asks_in_its_own_name_only(quiet: Service) -> None:
    member = (await quiet.sign_up())["member_ref"]
    body = {"subject": "privacy", "member_ref": member, "text": "남의 이름으로"}
    assert (await quiet.post("/v1/inquiries", body, headers=OTHERS["member"])).status_code == 404
    assert (await quiet.http.get("/v1/inquiries", headers=OTHERS["service"])).status_code == 403


async def test_a_version_of_the_policy_tells_officer_remedies_cookies_and_unused_accounts(quiet: Service) -> None:
    listed = (await quiet.http.get("/v1/policy", headers=OTHERS["member"])).json()
    assert listed["current"] == "2021-02-22"
    shown = (await quiet.http.get("/v1/policy/2021-02-22", headers=OTHERS["member"])).json()
    assert (shown["officer"]["email"], shown["in_force"]) == ("security@tmax.co.kr", True)
    assert [r["clause"] for r in shown["remedies"] if r["note"]] == ["11.3", "11.4"]
    assert shown["cookies"]["needed_to_sign_up"] is False
    assert [p["enabled"] for p in shown["dormancy"]] == [True, False]
    missing = await quiet.http.get("/v1/policy/1999-01-01")
    assert (missing.status_code, missing.json()["code"]) == (404, "policy_not_found")


async def test_signing_up_asks_nothing_about_cookies(quiet: Service) -> None:
    answer = await quiet.post("/v1/members", a_sign_up(), headers={"Cookie": "", "DNT": "1"})
    assert answer.status_code == 201
    assert "set-cookie" not in answer.headers
    asked = await quiet.post("/v1/members", a_sign_up(cookies=False))
    assert (asked.status_code, asked.json()["errors"][0]["pointer"]) == (422, "/cookies")

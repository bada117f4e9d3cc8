"""The policy through the whole system: HTTP in; every store, the third party, the mail server and the log out.

Each test has a person of its own, so all of them share one running system in any order.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.audit import verify
from services.audit.checkpoint import Verifier
from services.runtime.clock import KST
from tests.e2e.client import HOST, IDENTIFIED, WAPL, Client, Row, until
from tests.support.expected import AFFILIATES, PARTNER

pytestmark = pytest.mark.timeout(120)
SATURDAY = 5
LONGEST_HOLIDAY = 6
"""Days a last day may move: Seollal or Chuseok with the days beside it (Civil Act 161)."""
GUARDIAN = {"name": "홍부모", "contact": "010-9999-0000"}
MARKETING = {"use": True, "email": True, "sms": False, "night": False}


def statuses(rows: dict[str, Row]) -> dict[str, str | None]:
    return {affiliate: row["status"] if row else None for affiliate, row in rows.items()}


async def test_a_correction_asked_for_on_paper_reaches_every_store_the_third_party_and_the_person(
    client: Client,
) -> None:
    """Clauses 5.1, 5.2, 5.7."""
    made = await client.sign_up(profiles=[HOST])
    ref, mail = made["member_ref"], f"new-{made['email']}"
    given = {"recipient": PARTNER, "items": ["email", "hypermeeting.title"], "purpose": "P1.1", "basis": "consent"}
    await client.ask("POST", f"/v1/members/{ref}/disclosures", given)
    changes = {"email": mail, "profiles": [{"service": "hypermeeting", "phone": "02-9-9"}]}
    request_id = await client.request(ref, "correction", channel="written", changes=changes)
    await client.step(request_id, "verify", IDENTIFIED)
    assert {row["email"] for row in (await client.members(ref)).values() if row} == {made["email"]}, "not yet decided"
    decided = await client.step(request_id, "decide", {"outcome": "granted"})
    assert {a: row and row["email"] for a, row in (await client.members(ref)).items()} == dict.fromkeys(
        AFFILIATES, mail
    )
    processed = (await client.processed(ref))["tmax-os"]
    assert processed is not None
    assert (processed["items"]["phone"], processed["items"]["email"]) == ("02-9-9", mail)
    (change_id,) = decided["change_ids"]
    (notice,) = await client.told(change_id)
    assert notice["values"] == {"email": mail}, "what the third party never had it is not told"
    (answered,) = await client.mails(mail)
    assert "요구대로 처리함" in answered.get_content()
    assert request_id in answered.get_content()
    shown = await client.ask("GET", f"/v1/rights-requests/{request_id}/answer")
    assert (shown["outcome"], shown["type"]) == ("granted", "correction")
    mine = [e for e in await client.entries(ref) if e.get("change_id") == change_id]
    (fact,) = [e["body"]["data"] for e in mine if not e.get("stage")]
    assert (fact["change"], fact["channel"], fact["actor"]) == ("corrected", "written", "member")


async def test_a_suspension_stands_in_every_store_from_its_verification_until_its_release(client: Client) -> None:
    """Clause 5.1, PIPA 37: use and sharing stop at once; the person alone lifts it."""
    consents = {"collection": True, "sharing": True, "marketing": {"use": True, "email": True}}
    ref = (await client.sign_up(consents=consents))["member_ref"]
    sending = {"purpose": "marketing", "channel": "email"}
    assert (await client.decision(ref, "tmax-os", **sending))["allowed"] is True
    request_id = await client.request(ref, "suspension", channel="fax")
    assert set(statuses(await client.members(ref)).values()) == {"active"}
    await client.step(request_id, "verify", IDENTIFIED)
    assert set(statuses(await client.members(ref)).values()) == {"suspended"}
    for affiliate in AFFILIATES:
        for question in (sending, {"purpose": "P1.1", "item": "email"}):
            found = await client.decision(ref, affiliate, **question)
            assert (found["allowed"], found["rule"]) == (False, "5.1-suspend")
    await client.step(request_id, "decide", {"outcome": "granted"})
    assert set(statuses(await client.members(ref)).values()) == {"suspended"}
    await client.step(request_id, "release", role="member", sub=ref)
    assert set(statuses(await client.members(ref)).values()) == {"active"}
    assert (await client.decision(ref, "tmax-os", **sending))["allowed"] is True


async def test_a_suspension_in_part_takes_just_that_out_of_every_store_until_its_release(client: Client) -> None:
    """Clause 5.1, PIPA 37(1) "all or part": granted in part, the rest back in its place at once."""
    consents = {"collection": True, "sharing": True, "marketing": {"use": True, "email": True}}
    ref = (await client.sign_up(profiles=[WAPL], consents=consents))["member_ref"]
    named = {"items": ["name", "wapl.photo"], "purposes": ["P1.5"]}
    request_id = await client.request(ref, "suspension", channel="email", **named)
    await client.step(request_id, "verify", IDENTIFIED)
    rows = await client.members(ref)
    assert {(row["status"], row["name"], row["marketing"]) for row in rows.values() if row} == {("active", None, None)}
    processed = (await client.processed(ref))["tmax-anc"]
    assert processed is not None
    assert not {"name", "photo"} & set(processed["items"])
    assert processed["items"]["title"] == "책임"
    part = {"outcome": "partial", "items": ["photo"], "purposes": ["P1.5"], "ground": "contract"}
    await client.step(request_id, "decide", part)
    rows = await client.members(ref)
    assert {(row["name"], row["marketing"]) for row in rows.values() if row} == {("홍길동", None)}
    processed = (await client.processed(ref))["tmax-anc"]
    assert processed is not None
    assert {"name", "photo"} & set(processed["items"]) == {"name"}
    for question in ({"purpose": "P1.1", "item": "photo"}, {"purpose": "marketing", "channel": "email"}):
        found = await client.decision(ref, "tmax-anc", **question)
        assert (found["allowed"], found["rule"]) == (False, "5.1-suspend-part")
    await client.step(request_id, "release", role="member", sub=ref)
    assert all(row and row["marketing"] == MARKETING for row in (await client.members(ref)).values())
    processed = (await client.processed(ref))["tmax-anc"]
    assert processed is not None
    assert processed["items"]["photo"] == "p.png"


async def test_a_deleted_optional_item_leaves_the_processor_and_no_third_party_is_told(client: Client) -> None:
    """Clause 5.1; 5.7 speaks of corrections only."""
    ref = (await client.sign_up(profiles=[WAPL]))["member_ref"]
    given = {"recipient": PARTNER, "items": ["wapl.photo"], "purpose": "P1.1", "basis": "consent"}
    await client.ask("POST", f"/v1/members/{ref}/disclosures", given)
    before = (await client.processed(ref))["tmax-anc"]
    assert before is not None
    assert before["items"]["photo"] == "p.png"
    request_id = await client.request(ref, "deletion", channel="email", items=["wapl.photo"])
    await client.step(request_id, "verify", IDENTIFIED)
    (change_id,) = (await client.step(request_id, "decide", {"outcome": "granted"}))["change_ids"]
    after = (await client.processed(ref))["tmax-anc"]
    assert after is not None
    assert set(before["items"]) - set(after["items"]) == {"photo"}
    assert after["items"]["title"] == "책임"
    assert await client.told(change_id) == []


async def test_an_access_answer_has_its_five_blocks_with_every_provision_and_consent(client: Client) -> None:
    """Clause 5.1, decree 41(1), for the person itself and on paper."""
    made = await client.sign_up(profiles=[HOST])
    ref = made["member_ref"]
    given = {"recipient": PARTNER, "items": ["email"], "purpose": "P1.1", "basis": "consent"}
    await client.ask("POST", f"/v1/members/{ref}/disclosures", given)
    request_id = await client.request(ref, "access", channel="phone")
    early = await client.answer("GET", f"/v1/rights-requests/{request_id}/answer")
    assert early.status_code == 409
    await client.step(request_id, "verify", IDENTIFIED)
    await client.step(request_id, "decide", {"outcome": "granted"})
    path = f"/v1/rights-requests/{request_id}/answer"
    shown = await client.ask("GET", path, role="member", sub=ref)
    blocks = shown["blocks"]
    assert set(blocks) == {"items", "purposes", "periods", "third_parties", "consents"}
    content = {item["item"]: item["content"] for item in blocks["items"]}
    assert (content["email"], content["hypermeeting.phone"]) == (made["email"], HOST["phone"])
    assert "argon2" not in json.dumps(shown)
    ledger = (await client.ask("GET", f"/v1/members/{ref}/disclosures"))["disclosures"]
    told = [(row["recipient"]["id"], row["role"]["id"]) for row in blocks["third_parties"]]
    assert sorted(told) == sorted((row["recipient"], row["role"]) for row in ledger)
    assert {recipient for recipient, _ in told} == {*AFFILIATES, PARTNER}
    consents = [(c["purpose"]["id"], (c["party"] or {}).get("id")) for c in blocks["consents"]]
    assert sorted(consents, key=str) == sorted([("collection", None), *(("sharing", a) for a in AFFILIATES)], key=str)
    page = await client.answer("GET", path, accept="text/html")
    assert page.headers["content-type"].startswith("text/html")
    assert made["email"] in page.text


async def test_nobody_holds_anything_of_a_child_until_its_guardian_has_consented(client: Client) -> None:
    """Clause 5, PIPA 22-2: not even the operator's store."""
    ref = (await client.sign_up(birth_date="2020-01-01", profiles=[HOST]))["member_ref"]
    assert (await client.ask("GET", f"/v1/members/{ref}"))["status"] == "pending_guardian"
    assert await client.members(ref) == dict.fromkeys(AFFILIATES)
    assert await client.processed(ref) == dict.fromkeys(AFFILIATES)
    own = await client.answer(
        "PUT",
        f"/v1/members/{ref}/consents/collection",
        {"granted": True, "notice_version": "2021-02-22"},
        role="member",
        sub=ref,
        seq=1,
    )
    assert (own.status_code, own.json()["code"]) == (409, "guardian_needed")
    body = {"method": "paper", "guardian": GUARDIAN}
    confirmed = await client.ask("POST", f"/v1/members/{ref}/guardian/confirm", body, role="compliance")
    await client.followed(confirmed["change_id"])
    assert set(statuses(await client.members(ref)).values()) == {"active"}
    assert (await client.processed(ref))["tmax-os"] is not None


async def test_a_marketing_wish_becomes_an_instruction_and_its_result_a_mail_that_closes_the_duty(
    client: Client,
) -> None:
    """Clause 1.5, Network Act 50(7): for the company named and no other, within 14 days."""
    made = await client.sign_up()
    ref = made["member_ref"]
    await client.consent(ref, "marketing", 1, granted=True, senders=["tmax-os"], channel="use")
    await client.consent(ref, "marketing", 2, granted=True, senders=["tmax-os"], channel="email")
    instructions = {a: row and row["marketing"] for a, row in (await client.members(ref)).items()}
    assert instructions == {"tmax-cloud": None, "tmax-os": MARKETING, "tmax-anc": None}
    told = await client.mails(made["email"], 2)
    assert all("㈜티맥스오에스" in mail["From"] for mail in told), "the company that sends is the one that tells"
    assert any("이메일" in mail.get_content() and "수신 동의" in mail.get_content() for mail in told)
    duties = await until(lambda: _closed_duties(client, ref, 2))
    for duty in duties:
        days = (duty["due_on"] - duty["opened_at"].astimezone(KST).date()).days
        assert (duty["kind"], duty["outcome"]) == ("marketing_result", "sent")
        assert 14 <= days <= 14 + LONGEST_HOLIDAY
        assert duty["due_on"].weekday() < SATURDAY
        assert duty["closed_at"] >= duty["opened_at"]
    messages = (await client.ask("GET", "/v1/messages", role="compliance", params={"member_ref": ref}))["messages"]
    assert [(m["kind"], m["sender"], m["state"]) for m in messages] == [("marketing_result", "tmax-os", "sent")] * 2
    await client.consent(ref, "marketing", 3, granted=False, senders=["tmax-os"], channel="use")
    rows = await client.members(ref)
    assert {a: row and row["marketing"] for a, row in rows.items()} == dict.fromkeys(AFFILIATES)
    assert any("수신 동의 철회" in mail.get_content() for mail in await client.mails(made["email"], 3))


async def _closed_duties(client: Client, ref: str, count: int) -> list[asyncpg.Record] | None:
    rows = await (await client.pool("consent")).fetch(
        "SELECT * FROM duty WHERE member_ref = $1 AND closed_at IS NOT NULL", ref
    )
    return rows if len(rows) == count else None


async def test_unused_accounts_are_left_alone_because_the_promise_is_off(client: Client) -> None:
    """Clause 2.2 is the company's choice since 2023-09-15: an unused account stays, an old notice is taken back."""
    unused, told = [(await client.sign_up())["member_ref"] for _ in range(2)]
    owner = await asyncpg.connect(client.system.installation.access.owner_dsn("consent"))
    try:
        await owner.execute(
            "UPDATE member SET signed_up_at = '2021-03-02T00:00:00Z', last_active_at = '2021-03-02T00:00:00Z'"
            " WHERE member_ref = ANY($1::uuid[])",
            [unused, told],
        )
        await owner.execute("UPDATE member SET dormant_notified_at = '2023-01-02Z' WHERE member_ref = $1", told)
    finally:
        await owner.close()
    assert (await client.ask("GET", f"/v1/members/{told}"))["status"] == "dormant_notified"
    await client.system.stop_process("consent")
    client.system.start_process("consent")
    await client.system.wait_ready("consent")

    async def released() -> bool:
        return bool((await client.ask("GET", f"/v1/members/{told}"))["status"] == "active")

    await until(released)
    for ref, changes in ((unused, ["signed_up"]), (told, ["signed_up", "released"])):
        found = (await client.ask("GET", f"/v1/members/{ref}/changes"))["changes"]
        assert [change["change"] for change in found] == changes
        assert (await client.ask("GET", f"/v1/members/{ref}"))["status"] == "active"
        params = {"member_ref": ref}
        assert (await client.ask("GET", "/v1/messages", role="compliance", params=params))["messages"] == []


async def test_a_provision_to_investigators_shows_nowhere_but_to_the_officers(client: Client) -> None:
    """Clause 3.3-2, law notes G1 and G5."""
    ref = (await client.sign_up())["member_ref"]
    body = an_investigation(ref)
    found = await client.ask("POST", "/v1/investigation-requests", body, role="compliance")
    assert found["allowed"] == ["name"]
    path = f"/v1/investigation-requests/{found['id']}"
    given = {"provide": ["name"], "form": "written"}
    assert (await client.ask("POST", f"{path}/decide", given, role="cpo"))["state"] == "provided"
    others = (("service", ""), ("sre", ""), ("member", ref), ("affiliate", "tmax-os"), ("third_party", PARTNER))
    for role, sub in others:
        assert (await client.answer("GET", path, role=role, sub=sub)).status_code == 403
    for role, sub in (("member", ref), ("service", ""), ("compliance", "")):
        ledger = (await client.ask("GET", f"/v1/members/{ref}/disclosures", role=role, sub=sub))["disclosures"]
        assert {row["recipient"] for row in ledger} == set(AFFILIATES)
    access = await client.request(ref, "access")
    await client.step(access, "verify", IDENTIFIED)
    await client.step(access, "decide", {"outcome": "granted"})
    answer = json.dumps(await client.ask("GET", f"/v1/rights-requests/{access}/answer"), ensure_ascii=False)
    assert "police" not in answer
    assert found["id"] not in answer
    assert {row and row["name"] for row in (await client.members(ref)).values()} == {"홍길동"}
    assert [c["change"] for c in (await client.ask("GET", f"/v1/members/{ref}/changes"))["changes"]] == ["signed_up"]
    assert all(found["id"] not in json.dumps(e) for e in await client.entries(ref)), "not under the member's reference"


def an_investigation(ref: str) -> dict[str, Any]:
    """A written request of the police for a name, under the Telecommunications Business Act."""
    paper = {
        "kind": "written_request",
        "number": "2026-형제-1234",
        "issued_on": "2026-11-20",
        "states": ["reason", "relation", "scope"],
        "names": ["name"],
    }
    return {
        "agency": "police",
        "basis": "telecom_business_act_83",
        "purpose": "investigation",
        "paper": paper,
        "items": ["name"],
        "received_at": datetime.now(UTC).isoformat(),
        "member_ref": ref,
    }


async def test_decisions_about_past_instants_say_what_the_stores_held_then(client: Client) -> None:
    """Point in time: the stores themselves, read at each moment, are the oracle."""
    sharing = {"collection": True, "sharing": {"tmax-anc": True}}
    ref = (await client.sign_up(consents=sharing, profiles=[HOST]))["member_ref"]
    moments = [await _moment(client, ref)]
    given: dict[str, Any] = {"granted": True, "recipients": ["tmax-os"]}
    await client.consent(ref, "sharing", 1, **given)
    moments.append(await _moment(client, ref))
    for seq, channel in ((2, "use"), (3, "email")):
        await client.consent(ref, "marketing", seq, granted=True, senders=["tmax-os"], channel=channel)
        moments.append(await _moment(client, ref))
    suspension = await client.request(ref, "suspension")
    await client.step(suspension, "verify", IDENTIFIED)
    moments.append(await _moment(client, ref))
    await client.step(suspension, "withdraw")
    moments.append(await _moment(client, ref))
    await client.consent(ref, "sharing", 6, **given | {"granted": False})
    moments.append(await _moment(client, ref))
    for verb in ("withdrawal", "withdrawal/confirm"):
        change = await client.ask("POST", f"/v1/members/{ref}/{verb}")
        await client.followed(change["change_id"])
        moments.append(await _moment(client, ref))
    seen = set()
    for at, stores in moments:
        for question, allowed in _as_held(stores):
            found = await client.decision(ref, at=at, **question)
            assert found["allowed"] is allowed, (at, question, found["rule"])
            seen.add((question["recipient"], question["purpose"], allowed))
    both = {(a, p) for a, p, _ in seen if {(a, p, True), (a, p, False)} <= seen}
    assert both >= {("tmax-os", "P1.1"), ("tmax-os", "marketing"), ("tmax-cloud", "P1.1"), ("tmax-anc", "P1.1")}


async def _moment(client: Client, ref: str) -> tuple[str, dict[str, tuple[Row, Row]]]:
    """Return an instant and what every store holds at it."""
    members, processed = await client.members(ref), await client.processed(ref)
    return datetime.now(UTC).isoformat(), {a: (members[a], processed[a]) for a in AFFILIATES}


def _as_held(stores: dict[str, tuple[Row, Row]]) -> list[tuple[dict[str, str], bool]]:
    """Return questions with the answer that the rows give: a value there, under a status that lets it be used."""
    found: list[tuple[dict[str, str], bool]] = []
    for affiliate, (member, processed) in stores.items():
        status = member["status"] if member else (processed or {}).get("status") or "active"
        usable = status in {"active", "withdrawal_requested"}
        mail = usable and bool((member and member["email"]) or (processed and processed["items"]))
        phone = usable and bool(processed and processed["items"])
        advert = status == "active" and bool(member and (member["marketing"] or {}).get("email"))
        found += [
            ({"recipient": affiliate, "purpose": "P1.1", "item": "email"}, mail),
            ({"recipient": affiliate, "purpose": "P1.1", "item": "hypermeeting.phone"}, phone),
            ({"recipient": affiliate, "purpose": "marketing", "channel": "email"}, advert),
        ]
    return found


async def test_every_register_entry_is_a_leaf_of_the_log_and_the_log_verifies_offline(
    client: Client, tmp_path: Path
) -> None:
    """Whatever this system registered up to now, from this test and the others."""
    ref = (await client.sign_up(birth_date="2020-01-01"))["member_ref"]
    await client.ask("POST", f"/v1/members/{ref}/guardian", {"guardian": GUARDIAN})
    await client.request(ref, "access", channel="web")
    asked = {"subject": "complaint", "member_ref": ref, "text": "제 정보는 어디에 있나요?"}
    await client.ask("POST", "/v1/inquiries", asked)
    await client.ask("POST", "/v1/investigation-requests", an_investigation(ref), role="compliance")
    rows = await (await client.pool("consent")).fetch(
        "SELECT payload FROM outbox WHERE type = 'kr.dongui.register.v1' ORDER BY position"
    )
    handed = {e["entry_id"]: e for e in (json.loads(bytes(row["payload"])) for row in rows)}
    assert {e["kind"] for e in handed.values()} >= {"guardian", "rights_request", "inquiry", "restricted"}
    assert all(e.get("member_ref") is None for e in handed.values() if e["kind"] == "restricted")
    file = tmp_path / "log.ndjson"

    async def logged() -> bool:
        lines = [json.loads(line) for line in (await client.export(file)).splitlines()]
        bodies = [json.loads(line["body"])["data"] for line in lines if line["kind"] == "entry"]
        leaves = [b["entry_id"] for b in bodies if "entry_id" in b]
        assert len(leaves) == len(set(leaves)), "each once"
        return handed.keys() <= set(leaves)

    await until(logged)
    key = Verifier.parse((Path(client.described["data_dir"]) / "audit.vkey").read_text(encoding="utf-8").strip())
    report = verify.verify_file(file, key)
    assert report.ok, report.findings
    assert report.entries >= len(handed)
    name = GUARDIAN["name"]
    assert all(value not in file.read_text(encoding="utf-8") for value in (name, GUARDIAN["contact"], asked["text"]))

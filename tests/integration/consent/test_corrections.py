"""Answers to correction notices by every way there is, and what staff see of those that do not come (clause 5.7)."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.receipts import RECEIPT_TYPE, Receipt, RegisterEntry
from schemas.topics import RECEIPTS
from services.consent import receipts
from services.consent.corrections import escalate, issue
from services.consent.erasure.certificate import Signer
from services.consent.erasure.issue import Issuer
from services.policy.calendar import last_day
from services.runtime.clock import KST
from services.runtime.problem import Problem
from tests.integration.consent.harness import Service, a_token, bearer

PARTNER = bearer(a_token("demo-partner", "third_party"))
OFFICER = bearer(a_token("officer-a", "compliance"))
SRE = bearer(a_token("sre-a", "sre"))
EVIDENCE = "mail:2026-1124"


async def a_notice(service: Service, **signed_up: Any) -> dict[str, Any]:
    """A member whose e-mail the partner has, corrected: the notice as it is listed."""
    ref = (await service.sign_up(**signed_up))["member_ref"]
    given = {"recipient": "demo-partner", "items": ["email"], "purpose": "delivery", "basis": "consent"}
    assert (await service.post(f"/v1/members/{ref}/disclosures", given)).status_code == 201
    return await corrected(service, ref, 1)


async def corrected(service: Service, ref: str, seq: int, **changes: Any) -> dict[str, Any]:
    """Correct the e-mail (or what is named) and return the notice of it."""
    body = changes or {"email": f"m{uuid.uuid4().hex[:12]}@example.com"}
    change = await service.patch(ref, seq, body)
    assert change.status_code == 200, change.text
    return next(n for n in await notices(service) if n["change_id"] == change.json()["change_id"])


async def notices(service: Service) -> list[dict[str, Any]]:
    return list((await service.http.get("/v1/notices", headers=PARTNER)).json()["notices"])


async def answer(service: Service, notice: dict[str, Any], headers: dict[str, str], **body: Any) -> Any:
    return await service.http.post(f"/v1/notices/{notice['notice_id']}/acknowledgement", json=body, headers=headers)


async def open_duties(service: Service, notice: dict[str, Any]) -> dict[str, str]:
    """Return kind -> last day of the open duties of one notice."""
    found = (await service.http.get("/v1/duties", headers=OFFICER)).json()["duties"]
    return {d["kind"]: d["due_on"] for d in found if d["subject"] == notice["notice_id"]}


async def receive(service: Service, notice: dict[str, Any], stage: str, **said: Any) -> None:
    """Hand a receipt of the sender to the receipts follower, as it comes off the topic."""
    receipt = Receipt(
        change_id=notice["change_id"],
        member_ref=notice["member_ref"],
        seq=notice["seq"],
        recipient="demo-partner",
        kind="third_party",
        stage=stage,
        at=datetime.now(UTC),
        **said,
    )
    envelope = Envelope(
        id=str(uuid.uuid4()),
        type=RECEIPT_TYPE,
        source="/dongui/notices",
        subject=receipt.member_ref,
        sequence=receipt.seq,
        previous=0,
        time=receipt.at,
        dataschema="urn:dongui:receipt:v1",
        content_type="application/json",
        change_id=receipt.change_id,
    )
    headers = [(name, value.encode()) for name, value in to_headers(envelope).items()]
    value = codec.encode_clear(receipt, envelope)
    record = ConsumerRecord(RECEIPTS, 0, 0, 0, 0, envelope.subject.encode(), value, None, 0, len(value), headers)
    async with service.pool.acquire() as connection, connection.transaction():
        await receipts.record(connection, [record])


async def stage_of(service: Service, notice: dict[str, Any]) -> tuple[str, bool]:
    """Return the partner's stage of the change, and whether the partner's answer is still missing."""
    shown = (await service.http.get(f"/v1/changes/{notice['change_id']}")).json()
    (mine,) = (r for r in shown["recipients"] if r["id"] == "demo-partner")
    return mine["stage"], shown["complete"]


async def stale(service: Service, ref: str) -> list[list[str]]:
    """Return `stale_items` of each of the partner's ledger rows."""
    found = (await service.http.get(f"/v1/members/{ref}/disclosures")).json()["disclosures"]
    return [d["stale_items"] for d in found if d["recipient"] == "demo-partner"]


async def test_a_correction_marks_what_is_stale_until_it_is_answered(silent: Service) -> None:
    notice = await a_notice(silent)
    assert await stale(silent, notice["member_ref"]) == [["email"], []]
    assert (await answer(silent, notice, PARTNER, outcome="corrected")).status_code == 200
    assert await stale(silent, notice["member_ref"]) == [[], []]


async def test_an_affiliate_is_stale_until_its_store_has_the_new_value(silent: Service) -> None:
    notice = await a_notice(silent)
    path = f"/v1/members/{notice['member_ref']}/disclosures"
    os_rows = [d for d in (await silent.http.get(path)).json()["disclosures"] if d["recipient"] == "tmax-os"]
    assert [d["stale_items"] for d in os_rows] == [["email"], []]
    await silent.pool.execute(
        "UPDATE delivery SET stage = 'applied' WHERE recipient = 'tmax-os' AND change_id = $1", notice["change_id"]
    )
    os_rows = [d for d in (await silent.http.get(path)).json()["disclosures"] if d["recipient"] == "tmax-os"]
    assert [d["stale_items"] for d in os_rows] == [[], []]
    assert "given" not in os_rows[0], "commitments are nobody's to see"


async def test_who_says_not_held_is_told_no_more(silent: Service) -> None:
    notice = await a_notice(silent)
    await answer(silent, notice, PARTNER, outcome="not_held")
    change = await silent.patch(notice["member_ref"], 2, {"email": "third@example.com"})
    assert change.status_code == 200
    assert [n["change_id"] for n in await notices(silent)] == [notice["change_id"]]


async def test_a_refusal_is_staffs_until_they_confirm_it_or_it_is_taken_back(silent: Service) -> None:
    notice = await a_notice(silent)
    said = await answer(silent, notice, PARTNER, outcome="refused", reason="law.keeps_it")
    assert said.json() == {"outcome": "refused"}
    assert set(await open_duties(silent, notice)) == {"notice_answer"}
    assert await stale(silent, notice["member_ref"]) == [["email"], []]
    late = await answer(silent, notice, PARTNER, outcome="corrected")
    assert late.json() == {"outcome": "corrected"}
    assert await open_duties(silent, notice) == {}
    assert await stage_of(silent, notice) == ("applied", False), "the affiliates have not answered"
    again = await answer(silent, notice, PARTNER, outcome="refused", reason="law.keeps_it")
    assert again.json() == {"outcome": "corrected"}, "an answer that stands"


async def test_staff_confirm_a_refusal_with_evidence(silent: Service) -> None:
    notice = await a_notice(silent)
    await answer(silent, notice, PARTNER, outcome="refused", reason="law.keeps_it")
    body = {"outcome": "refused", "reason": "law.keeps_it", "evidence": EVIDENCE}
    assert (await answer(silent, notice, OFFICER, **body)).json() == {"outcome": "refused"}
    assert await open_duties(silent, notice) == {}
    await receive(silent, notice, "refused", outcome="refused", reason="law.keeps_it")
    assert await open_duties(silent, notice) == {}, "our own receipt, come back by the topic, opens nothing"


async def test_staff_enter_an_answer_with_evidence_and_the_log_knows_who(service: Service) -> None:
    notice = await a_notice(service)
    body = {"outcome": "corrected", "evidence": EVIDENCE}
    assert (await answer(service, notice, OFFICER, **body)).status_code == 200
    row = await service.pool.fetchrow("SELECT * FROM notice WHERE notice_id = $1", notice["notice_id"])
    assert row is not None
    assert (row["outcome"], row["answered_via"], row["evidence"]) == ("corrected", "staff", EVIDENCE)
    said = await service.shapes(RECEIPTS)
    (receipt,) = (s for s in said if isinstance(s, Receipt))
    assert (receipt.recipient, receipt.stage, receipt.outcome) == ("demo-partner", "applied", "corrected")
    (entry,) = (s for s in said if isinstance(s, RegisterEntry))
    assert (entry.kind, entry.state, entry.actor, entry.subject) == ("notice", "answered", "staff", notice["notice_id"])
    assert entry.codes == {"outcome": "corrected", "evidence": EVIDENCE, "by": "officer-a"}


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        (OFFICER, {"outcome": "corrected"}, 422, "evidence_required"),
        (OFFICER, {"outcome": "refused", "evidence": EVIDENCE}, 422, "reason_required"),
        (OFFICER, {"outcome": "corrected", "evidence": "홍길동이 전화로"}, 422, "invalid_field"),
        (PARTNER, {"outcome": "corrected", "evidence": EVIDENCE}, 422, "evidence_of_staff_only"),
        (PARTNER, {"outcome": "superseded"}, 422, "invalid_field"),
        (SRE, {"outcome": "corrected", "evidence": EVIDENCE}, 403, "forbidden"),
    ],
)
async def test_an_answer_that_may_not_be_is_refused(
    silent: Service, headers: dict[str, str], body: dict[str, str], status: int, code: str
) -> None:
    notice = await a_notice(silent)
    said = await answer(silent, notice, headers, **body)
    assert (said.status_code, said.json()["code"]) == (status, code)
    assert [n["outcome"] for n in await notices(silent)] == [None]


async def test_staff_cannot_enter_another_answer_than_the_one_that_stands(silent: Service) -> None:
    notice = await a_notice(silent)
    await answer(silent, notice, PARTNER, outcome="corrected")
    said = await answer(silent, notice, OFFICER, outcome="not_held", evidence=EVIDENCE)
    assert (said.status_code, said.json()["code"]) == (409, "notice_answered")
    assert (await answer(silent, notice, OFFICER, outcome="corrected", evidence=EVIDENCE)).status_code == 200


async def test_a_notice_without_a_server_is_a_duty_until_sent_and_answered(silent: Service) -> None:
    notice = await a_notice(silent)
    await receive(silent, notice, "manual")
    assert (await stage_of(silent, notice))[0] == "manual"
    created = datetime.fromisoformat(notice["created_at"])
    due_on = last_day(created, days=5).isoformat()
    assert await open_duties(silent, notice) == {"notice_manual": due_on}
    path = f"/v1/notices/{notice['notice_id']}/manual"
    body = {"channel": "post", "sent_at": datetime.now(UTC).isoformat(), "evidence": "letter:17"}
    key = str(uuid.uuid4())
    for _ in range(2):
        sent = await silent.post(path, body, key=key, headers=OFFICER)
        assert (sent.status_code, sent.json()["channel"], sent.json()["answer_due_on"]) == (201, "post", due_on)
    assert await open_duties(silent, notice) == {"notice_answer": due_on}
    (listed,) = await notices(silent)
    assert (listed["sent_by"], listed["outcome"]) == ("post", None)
    await receive(silent, notice, "manual")
    assert await open_duties(silent, notice) == {"notice_answer": due_on}, "the same receipt again opens nothing"
    await answer(silent, notice, OFFICER, outcome="not_held", evidence="letter:18")
    assert await open_duties(silent, notice) == {}
    assert (await stage_of(silent, notice))[0] == "applied"
    done = await silent.post(path, body, headers=OFFICER)
    assert (done.status_code, done.json()["code"]) == (409, "notice_answered")


async def test_an_answer_in_one_batch_with_manual_counts(silent: Service) -> None:
    notice = await a_notice(silent)
    await receive(silent, notice, "manual")
    await receive(silent, notice, "applied", outcome="corrected")
    await receive(silent, notice, "manual")
    assert (await stage_of(silent, notice))[0] == "applied"
    assert await open_duties(silent, notice) == {}


@pytest.mark.parametrize(
    ("changes", "headers", "status", "code"),
    [
        ({"sent_at": "2999-01-01T00:00:00Z"}, OFFICER, 422, "sent_in_future"),
        ({"sent_at": "2021-03-01T00:00:00Z"}, OFFICER, 422, "sent_before_correction"),
        ({"sent_at": "2026-11-24T10:00:00"}, OFFICER, 422, "invalid_field"),
        ({"channel": "fax"}, OFFICER, 422, "invalid_field"),
        ({}, PARTNER, 403, "forbidden"),
        ({}, SRE, 403, "forbidden"),
    ],
)
async def test_a_sending_that_may_not_be_is_refused(
    silent: Service, changes: dict[str, str], headers: dict[str, str], status: int, code: str
) -> None:
    notice = await a_notice(silent)
    body = {"channel": "email", "sent_at": datetime.now(UTC).isoformat(), "evidence": EVIDENCE} | changes
    said = await silent.post(f"/v1/notices/{notice['notice_id']}/manual", body, headers=headers)
    assert (said.status_code, said.json()["code"]) == (status, code)
    assert await silent.pool.fetchval("SELECT count(*) FROM notice_sending") == 0


async def test_silence_becomes_a_duty_two_days_before_the_last_day(silent: Service) -> None:
    notice = await a_notice(silent)
    created = datetime.fromisoformat(notice["created_at"])
    due_on = last_day(created, days=5)
    warned = datetime.combine(due_on - timedelta(2), datetime.min.time(), KST)
    assert await escalate.look(silent.consent, warned - timedelta(seconds=1)) == 0
    assert await open_duties(silent, notice) == {}
    assert await escalate.look(silent.consent, warned) == 1
    assert await open_duties(silent, notice) == {"notice_answer": due_on.isoformat()}
    assert await escalate.look(silent.consent, warned) == 0
    await receive(silent, notice, "applied", outcome="corrected")
    assert await open_duties(silent, notice) == {}


async def test_a_dead_letter_is_no_answer_and_staff_see_it_at_once(silent: Service) -> None:
    notice = await a_notice(silent)
    await receive(silent, notice, "refused", reason="too_large")
    assert [n["outcome"] for n in await notices(silent)] == [None], "the third party has not said anything"
    assert set(await open_duties(silent, notice)) == {"notice_answer"}
    await answer(silent, notice, PARTNER, outcome="refused", reason="law.keeps_it")
    assert [n["outcome"] for n in await notices(silent)] == ["refused"]


async def test_an_overtaken_notice_is_answered_with_the_newer_one(silent: Service) -> None:
    older = await a_notice(silent)
    newer = await corrected(silent, older["member_ref"], 2)
    await silent.pool.execute("UPDATE delivery SET stage = 'applied' WHERE kind = 'affiliate'")
    await receive(silent, older, "superseded")
    assert await stage_of(silent, older) == ("superseded", False)
    assert (await answer(silent, older, PARTNER, outcome="corrected")).json() == {"outcome": "superseded"}
    assert await escalate.look(silent.consent, datetime.now(UTC) + timedelta(9)) == 2
    await answer(silent, newer, PARTNER, outcome="corrected")
    assert await stage_of(silent, older) == ("superseded", True)
    assert await open_duties(silent, older) == {} == await open_duties(silent, newer)
    assert await stale(silent, older["member_ref"]) == [[], [], []]


async def test_an_older_notice_is_answered_when_its_end_comes_after_the_newer_answer(silent: Service) -> None:
    older = await a_notice(silent)
    newer = await corrected(silent, older["member_ref"], 2)
    await silent.pool.execute("UPDATE delivery SET stage = 'applied' WHERE kind = 'affiliate'")
    await answer(silent, newer, PARTNER, outcome="corrected")
    await receive(silent, older, "superseded")
    assert await stage_of(silent, older) == ("superseded", True)


async def test_a_newer_notice_of_other_items_answers_for_nothing(silent: Service) -> None:
    older = await a_notice(silent)
    given = {"recipient": "demo-partner", "items": ["name"], "purpose": "delivery", "basis": "consent"}
    await silent.post(f"/v1/members/{older['member_ref']}/disclosures", given)
    newer = await corrected(silent, older["member_ref"], 2, name="김하나")
    await silent.pool.execute("UPDATE delivery SET stage = 'applied' WHERE kind = 'affiliate'")
    await receive(silent, older, "superseded")
    await answer(silent, newer, PARTNER, outcome="corrected")
    assert await stage_of(silent, older) == ("superseded", False)


async def test_no_notice_ever_appears_behind_the_cursor_of_a_reader(silent: Service) -> None:
    """The first of two corrections commits last: whoever has read the second still gets it."""
    first, second = [await a_notice(silent) for _ in range(2)]
    await silent.pool.execute("UPDATE notice SET cursor = NULL")
    async with silent.pool.acquire() as connection, connection.transaction():
        # Held as an uncommitted insert would be: not there for any other transaction.
        await connection.execute("SELECT 1 FROM notice WHERE notice_id = $1 FOR UPDATE", first["notice_id"])
        (seen,) = await notices(silent)
        assert seen["notice_id"] == second["notice_id"]
    page = (await silent.http.get(f"/v1/notices?after={seen['cursor']}", headers=PARTNER)).json()["notices"]
    assert [n["notice_id"] for n in page] == [first["notice_id"]]
    assert await notices(silent) == [seen, *page], "and the list stays as it was read"


async def test_pages_of_notices_follow_each_other_without_a_hole(silent: Service) -> None:
    notice = await a_notice(silent)
    rows = [(str(uuid.uuid4()), str(uuid.uuid4())) for _ in range(150)]
    await silent.pool.executemany(
        "INSERT INTO change (change_id, member_ref, seq, name, fact, accepted_at)"
        " VALUES ($2, $1, $3, 'corrected', '{}', now())",
        [(notice["member_ref"], change, 100 + n) for n, (_, change) in enumerate(rows)],
    )
    await silent.pool.executemany(
        "INSERT INTO notice (notice_id, change_id, member_ref, recipient, seq, items, created_at)"
        " VALUES ($1, $2, $3, 'demo-partner', 9, '{email}', now())",
        [(*row, notice["member_ref"]) for row in rows],
    )
    found, after = [], "0"
    while after is not None:
        page = (await silent.http.get(f"/v1/notices?after={after}", headers=PARTNER)).json()
        found += [n["notice_id"] for n in page["notices"]]
        after = page["next"]
    assert found == [notice["notice_id"], *(notice_id for notice_id, _ in rows)]


async def test_a_request_that_is_refused_or_only_asked_tells_nobody(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    given = {"recipient": "demo-partner", "items": ["email"], "purpose": "delivery", "basis": "consent"}
    await silent.post(f"/v1/members/{ref}/disclosures", given)
    body = {
        "member_ref": ref,
        "type": "correction",
        "channel": "email",
        "received_at": datetime.now(UTC).isoformat(),
        "changes": {"email": "wanted@example.com"},
    }
    asked = await silent.post("/v1/rights-requests", body, headers=OFFICER)
    assert asked.status_code == 201, asked.text
    assert await notices(silent) == []
    gone = await silent.post(f"/v1/rights-requests/{asked.json()['id']}/withdraw", {}, headers=OFFICER)
    assert gone.status_code == 200, gone.text
    assert await notices(silent) == []
    assert await stale(silent, ref) == [[]]


async def test_no_certificate_while_somebody_has_not_answered(silent: Service) -> None:
    notice = await a_notice(silent)
    path = f"/v1/changes/{notice['change_id']}/certificate"
    keyless = await silent.http.get(path)
    assert (keyless.status_code, keyless.json()["code"]) == (503, "certificate_key_missing")
    await silent.pool.execute("UPDATE delivery SET stage = 'applied' WHERE recipient <> 'tmax-os'")
    await silent.pool.execute("UPDATE delivery SET stage = 'refused' WHERE recipient = 'tmax-os'")
    issuer = Issuer(Signer(bytes(32)), "http://127.0.0.1:9", "token")
    with pytest.raises(Problem) as refused:
        await issue.issue(silent.consent, issuer, notice["change_id"])
    missing = refused.value.extra["missing"]
    assert (refused.value.status, refused.value.code) == (409, "change_not_converged")
    assert [(m["id"], m["stage"]) for m in missing] == [("tmax-os", "refused"), ("demo-partner", "applied")]
    assert "demo-partner" in refused.value.detail_en


async def test_a_certificate_waits_for_the_log_and_says_when_it_is_away(silent: Service) -> None:
    notice = await a_notice(silent)
    await answer(silent, notice, PARTNER, outcome="corrected")
    await silent.pool.execute("UPDATE delivery SET stage = 'applied' WHERE kind = 'affiliate'")
    issuer = Issuer(Signer(bytes(32)), "http://127.0.0.1:9", "token")
    for expected, sealed in ((409, None), (503, 7)):
        await silent.pool.execute("UPDATE change SET leaf_index = $1", sealed)
        with pytest.raises(Problem) as refused:
            await issue.issue(silent.consent, issuer, notice["change_id"])
        assert refused.value.status == expected
    with pytest.raises(Problem) as unknown:
        await issue.issue(silent.consent, issuer, str(uuid.uuid4()))
    assert unknown.value.code == "change_not_found"

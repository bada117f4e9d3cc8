"""Who reads what is kept, for what, and that it is written down; what the grants refuse whatever the code says."""

import uuid
from dataclasses import replace
from datetime import date
from typing import Any

import asyncpg
import pytest

from services.devstack.provision import AFFILIATES
from services.keyring import kek
from services.retention.readings import Question, read
from tests.integration.consent.harness import a_token, bearer
from tests.integration.retention.harness import Pair

ORDER = {"class": "contract", "fields": {"order_no": "A-1", "amount": 12000}}


async def readings(pair: Pair, ref: str) -> list[Any]:
    return list(
        await pair.parts.vault.pool.fetch(
            "SELECT purpose, reason, reader, records FROM reading WHERE member_ref = $1 ORDER BY at", ref
        )
    )


async def test_each_reading_by_compliance_is_recorded_with_its_reason_and_goes_to_the_audit_log(pair: Pair) -> None:
    ref, _ = await pair.member_with(ORDER)
    await pair.moved(ref)
    answer = await pair.read(ref, reason="tax-2026/7")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert [tuple(row) for row in await readings(pair, ref)] == [("compliance", "tax-2026/7", "officer-1", 1)]
    entry = next(e for e in await pair.entries("retention_reading") if e["member_ref"] == ref)
    assert (entry["state"], entry["actor"]) == ("read", "staff")
    assert entry["codes"] == {"purpose": "compliance", "reason": "tax-2026/7", "records": "1"}


async def test_looking_for_somebody_of_whom_nothing_is_kept_is_recorded_too(pair: Pair) -> None:
    nobody = str(uuid.uuid4())
    assert (await pair.read(nobody)).json() == {"records": []}
    assert [row["records"] for row in await readings(pair, nobody)] == [0]


async def test_a_former_member_is_found_by_the_e_mail_of_the_deal(pair: Pair) -> None:
    email = f"left{uuid.uuid4().hex[:8]}@example.com"
    ref, ids = await pair.member_with(ORDER, email=email)
    await pair.moved(ref)
    body = {"email": email.upper(), "reason": "call-12"}
    found = await pair.http.post("/v1/retention/searches", json=body, headers=bearer(a_token("officer-1", "cpo")))
    assert [(r["record_id"], r["member_ref"]) for r in found.json()["records"]] == [(ids[0], ref)]
    assert [row["reason"] for row in await readings(pair, ref)] == ["call-12"]
    other = await pair.http.post(
        "/v1/retention/searches", json=body | {"email": "no@example.com"}, headers=bearer(a_token("officer-1", "cpo"))
    )
    assert other.json() == {"records": []}


@pytest.mark.parametrize("role", ["service", "sre", "member", "affiliate", "third_party", "marketing"])
async def test_nobody_else_reads(pair: Pair, role: str) -> None:
    ref = str(uuid.uuid4())
    assert (await pair.read(ref, roles=(role,))).status_code == 403
    body = {"email": "a@example.com", "reason": "x"}
    headers = bearer(a_token("someone", role))
    assert (await pair.http.post("/v1/retention/searches", json=body, headers=headers)).status_code == 403
    assert await readings(pair, ref) == []
    assert (await pair.http.get("/v1/retention/records", params={"member_ref": ref, "reason": "x"})).status_code == 401


async def test_a_reading_needs_a_coded_reason(pair: Pair) -> None:
    ref = str(uuid.uuid4())
    for reason in ("", "홍길동 씨 문의", "x" * 101):
        refused = await pair.read(ref, reason=reason)
        assert refused.status_code == 422
        assert reason not in refused.text or not reason
    assert await readings(pair, ref) == []


@pytest.mark.parametrize("purpose", ["marketing", "statistics", "", None])
async def test_the_database_refuses_every_other_purpose(pair: Pair, purpose: str | None) -> None:
    ref, _ = await pair.member_with(ORDER)
    await pair.moved(ref)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pair.parts.vault.pool.fetch(
            "SELECT * FROM read_records($1, NULL, $2, 'x', 'x', now(), $3)", ref, purpose, date(2030, 1, 1)
        )
    assert await readings(pair, ref) == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT sealed FROM kept_record",
        "SELECT email_mac FROM kept_record",
        "SELECT * FROM kept_record",
        "SELECT wrapped FROM record_key",
        "DELETE FROM kept_record",
        "UPDATE kept_record SET destroy_on = '2099-01-01'",
        "DELETE FROM reading",
        "UPDATE reading SET reason = 'other'",
        "INSERT INTO reading SELECT gen_random_uuid(), gen_random_uuid(), 'rights', 'x', 'x', 0, now(), '2030-01-01'",
        "DELETE FROM destroyed_record",
    ],
)
async def test_the_process_itself_has_no_other_way_to_content_or_past_the_record_of_it(
    pair: Pair, statement: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pair.parts.vault.pool.execute(statement)


async def test_no_other_process_can_even_connect(pair: Pair) -> None:
    mine = pair.databases.dsn("retention")
    for name in ("consent", "audit", "keyring", "notices", *AFFILIATES):
        theirs = pair.databases.dsn(name)
        crossed = theirs.replace(pair.databases.name(name), pair.databases.name("retention"))
        assert crossed != mine
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(crossed)


@pytest.mark.parametrize("erased", [False, True])
async def test_a_former_member_reads_by_a_granted_access_and_not_before(pair: Pair, erased: bool) -> None:
    ref, ids = await pair.member_with(ORDER)
    await pair.moved(ref)
    if erased:
        await pair.erase(ref)
    asked = {"member_ref": ref, "type": "access", "channel": "email", "received_at": "2026-11-01T09:00:00+09:00"}
    taken = await pair.service.post("/v1/rights-requests", asked)
    assert taken.status_code == 201, taken.text
    path = f"/v1/rights-requests/{taken.json()['id']}"
    early = await pair.service.http.get(f"{path}/retained-records")
    assert (early.status_code, early.json()["code"]) == (409, "not_decided")
    verified = await pair.service.post(f"{path}/verify", {"method": "id_card", "verified_by": "kim"})
    assert verified.is_success, verified.text
    decided = await pair.service.post(f"{path}/decide", {"outcome": "granted"})
    assert decided.is_success, decided.text
    shown = await pair.service.http.get(f"{path}/retained-records")
    assert shown.status_code == 200, shown.text
    assert [r["record_id"] for r in shown.json()["records"]] == ids
    assert shown.headers["cache-control"] == "no-store"
    request_id = taken.json()["id"]
    assert [tuple(row) for row in await readings(pair, ref)] == [("rights", request_id, "consent", 1)]
    own = bearer(a_token(ref, "member"))
    assert (await pair.service.http.get(f"{path}/retained-records", headers=own)).status_code == 200
    other = bearer(a_token(str(uuid.uuid4()), "member"))
    assert (await pair.service.http.get(f"{path}/retained-records", headers=other)).status_code == 404


async def test_the_schedules_of_both_places_tell_what_goes_when_and_nothing_of_anybody(pair: Pair) -> None:
    here, (first,) = await pair.member_with(ORDER)
    gone, (second,) = await pair.member_with(ORDER)
    await pair.moved(gone)
    consent = await pair.service.http.get("/v1/records/schedule", params={"until": "2031-10-07"})
    headers = bearer(a_token("dev-service", "service"))
    vault = await pair.http.get("/v1/retention/schedule", params={"until": "2031-10-07"}, headers=headers)
    assert first in {r["record_id"] for r in consent.json()["records"]}
    assert second in {r["record_id"] for r in vault.json()["records"]}
    assert second not in {r["record_id"] for r in consent.json()["records"]}
    for answer in (consent, vault):
        assert here not in answer.text
        assert gone not in answer.text
    day_before = await pair.http.get("/v1/retention/schedule", params={"until": "2031-10-06"}, headers=headers)
    assert second not in {r["record_id"] for r in day_before.json()["records"]}


async def test_a_content_under_another_kek_is_not_had_and_the_reading_not_lost(pair: Pair) -> None:
    ref, _ = await pair.member_with(ORDER)
    await pair.moved(ref)
    other = pair.service.settings.data_dir / f"kek-{ref}"
    kek.generate(other)
    vault = replace(pair.parts.vault, kek=kek.FileKek(other))
    with pytest.raises(kek.KekError, match="kek_other"):
        await read(vault, Question("compliance", "x", "officer-1", member_ref=ref))
    assert [row["records"] for row in await readings(pair, ref)] == [1]

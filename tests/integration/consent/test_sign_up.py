"""Sign-up over HTTP: who gets what, what stands in the ledger, and what is refused."""

import json
import uuid

import pytest

from schemas.events import Fact, Projection
from schemas.topics import FACTS
from tests.integration.consent.harness import Service, a_sign_up, a_token, bearer

HOST = {"service": "hypermeeting", "role": "host", "phone": "010-1234-5678", "department": "연구1팀", "title": "책임"}


async def test_a_sign_up_reaches_every_affiliate_that_shares(service: Service) -> None:
    made = await service.sign_up(email="Hong@Example.com", profiles=[HOST])
    ref = made["member_ref"]
    assert made["seq"] == 1
    for affiliate in ("tmax-cloud", "tmax-os", "tmax-anc"):
        (sent,) = await service.sent_to(affiliate)
        assert isinstance(sent, Projection)
        assert (sent.member_ref, sent.seq, sent.prev) == (ref, 1, 0)
        assert sent.member is not None
        assert (sent.member.email, sent.member.name) == ("Hong@example.com", "홍길동")
        assert sent.member.password_hash.startswith("$argon2id$")
        assert sent.marketing is None
        assert (sent.processed is not None) == (affiliate == "tmax-os")
    (fact,) = await service.shapes(FACTS)
    assert isinstance(fact, Fact)
    assert {a.id for a in fact.addressees} == {"tmax-cloud", "tmax-os", "tmax-anc"}
    assert {"email", "name", "password_hash", "hypermeeting.phone"} <= set(fact.items)
    assert "010-1234-5678" not in fact.model_dump_json()


async def test_sharing_names_affiliates_and_what_is_absent_is_no(service: Service) -> None:
    made = await service.sign_up(consents={"collection": True, "sharing": {"tmax-os": True, "tmax-anc": False}})
    assert len(await service.sent_to("tmax-os")) == 1
    assert len(await service.sent_to("tmax-cloud")) == 1, "the operator of the account holds every live member"
    assert await service.sent_to("tmax-anc") == []
    shown = (await service.http.get(f"/v1/members/{made['member_ref']}")).json()
    grants = {(g["purpose"], g.get("recipient")) for g in shown["grants"]}
    assert grants == {("collection", None), ("sharing", "tmax-os")}


async def test_the_ledger_says_who_was_given_which_items_and_why(service: Service) -> None:
    made = await service.sign_up(profiles=[HOST])
    found = (await service.http.get(f"/v1/members/{made['member_ref']}/disclosures")).json()["disclosures"]
    given = {(d["recipient"], d["role"]): set(d["items"]) for d in found}
    shared = {"email", "name", "password_hash", "membership_status"}
    assert given == {
        ("tmax-cloud", "recipient"): shared,
        ("tmax-os", "recipient"): shared,
        ("tmax-anc", "recipient"): shared,
        ("tmax-os", "processor"): {"email", "name", "phone", "department", "title"},
    }
    assert all(d["kind"] == "affiliate" and d["basis"] for d in found)


async def test_a_member_under_fourteen_waits_for_a_guardian_and_is_given_to_nobody(service: Service) -> None:
    made = await service.sign_up(birth_date="2020-01-01")
    shown = (await service.http.get(f"/v1/members/{made['member_ref']}")).json()
    assert shown["status"] == "pending_guardian"
    assert [await service.sent_to(a) for a in ("tmax-cloud", "tmax-os", "tmax-anc")] == [[], [], []]


@pytest.mark.parametrize("again", ["same@example.com", "SAME@Example.COM", "  same@example.com "])
async def test_an_email_is_one_mailbox_in_every_spelling(silent: Service, again: str) -> None:
    await silent.sign_up(email="same@example.com")
    answer = await silent.post("/v1/members", a_sign_up(email=again))
    assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")
    assert answer.json()["errors"] == [{"pointer": "/email", "code": "email_taken"}]
    assert again.strip() not in answer.text


async def test_an_email_that_was_given_up_by_a_correction_can_sign_up(silent: Service) -> None:
    made = await silent.sign_up(email="first@example.com")
    assert (await silent.patch(made["member_ref"], 1, {"email": "second@example.com"})).status_code == 200
    assert (await silent.post("/v1/members", a_sign_up(email="second@example.com"))).status_code == 409
    await silent.sign_up(email="first@example.com")


async def test_a_withdrawn_members_email_stays_taken_until_erasure(silent: Service) -> None:
    made = await silent.sign_up(email="gone@example.com")
    for step in ("withdrawal", "withdrawal/confirm"):
        await silent.post(f"/v1/members/{made['member_ref']}/{step}")
    assert (await silent.post("/v1/members", a_sign_up(email="gone@example.com"))).status_code == 409


REFUSED = [
    ({"nickname": "별명이에요"}, 422, "/nickname", "extra_forbidden"),
    ({"email": "not an address"}, 422, "/email", "email_invalid"),
    ({"email": "Hong <hong@example.com>"}, 422, "/email", "email_invalid"),
    ({"password": "짧은암호"}, 422, "/password", "string_too_short"),
    ({"name": "nul\x00"}, 422, "/name", "control_character"),
    ({"name": "   "}, 422, "/name", "string_too_short"),
    ({"birth_date": 20000101}, 422, "/birth_date", "date_type"),
    ({"birth_date": "2999-01-01"}, 422, "/birth_date", "birth_date_in_future"),
    ({"notice_version": "1999-01-01"}, 422, "/notice_version", "unknown_notice_version"),
    ({"consents": {}}, 422, "/consents/collection", "collection_consent_required"),
    ({"consents": {"collection": "yes"}}, 422, "/consents/collection", "bool_type"),
    ({"consents": {"collection": True, "sharing": 1}}, 422, "/consents/sharing", "sharing_invalid"),
    ({"consents": {"collection": True, "sharing": {"acme": True}}}, 422, "/consents/sharing", "unknown_recipient"),
    (
        {"consents": {"collection": True, "marketing": {"email": True}}},
        422,
        "/consents/marketing/use",
        "marketing_use_required",
    ),
    ({"profiles": [{"service": "chat", "role": "x"}]}, 422, "/profiles/0/service", "unknown_service"),
    ({"profiles": [HOST, HOST]}, 422, "/profiles/1/service", "duplicate_service"),
    ({"profiles": [HOST | {"photo": "x"}]}, 422, "/profiles/0/photo", "unknown_item"),
    ({"profiles": [HOST | {"phone": 10}]}, 422, "/profiles/0/phone", "item_invalid"),
    ({"profiles": [HOST | {"phone": "\x00"}]}, 422, "/profiles/0/phone", "item_invalid"),
]


@pytest.mark.parametrize(("changes", "status", "at", "code"), REFUSED)
async def test_a_bad_field_is_named_and_its_value_is_not(
    silent: Service, changes: dict[str, object], status: int, at: str, code: str
) -> None:
    answer = await silent.post("/v1/members", a_sign_up(**changes))
    assert answer.status_code == status, answer.text
    assert {"pointer": at, "code": code}.items() <= answer.json()["errors"][0].items()
    assert answer.headers["content-type"] == "application/problem+json"
    for value in changes.values():
        assert not isinstance(value, str) or value.strip() == "" or value not in answer.text
    assert await silent.pool.fetchval("SELECT count(*) FROM member") == 0


async def test_text_that_is_no_unicode_is_refused(silent: Service) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json"}
    body = json.dumps(a_sign_up(name="a\ud800")).encode()
    answer = await silent.http.post("/v1/members", content=body, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]) == (422, {"pointer": "/name", "code": "string_unicode"})


async def test_problems_speak_korean_and_english(silent: Service) -> None:
    answers = {
        tongue: await silent.post("/v1/members", a_sign_up(consents={}), headers={"Accept-Language": tongue})
        for tongue in ("ko-KR", "en-GB")
    }
    assert answers["ko-KR"].json()["detail"] == "회원 가입에는 개인정보 수집·이용 동의가 필요합니다."
    assert answers["en-GB"].json()["detail"] == "Membership needs the consent to collection."
    assert answers["en-GB"].headers["content-language"] == "en"


async def test_a_body_that_is_too_large_or_not_json_is_refused(silent: Service) -> None:
    large = await silent.post("/v1/members", a_sign_up(name="x" * 300_000))
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
    headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json"}
    broken = await silent.http.post("/v1/members", content=b'{"email": "secret@ex', headers=headers)
    assert (broken.status_code, broken.json()["code"]) == (400, "bad_json")
    assert "secret" not in broken.text

    async def endless() -> object:
        yield b"{"

    chunked = await silent.http.post("/v1/members", content=endless(), headers=headers)
    assert chunked.status_code == 411


async def test_only_the_service_signs_members_up(silent: Service) -> None:
    for roles, status in ((("member",), 403), (("affiliate",), 403), (("compliance",), 403), ((), 403)):
        answer = await silent.post("/v1/members", a_sign_up(), headers=bearer(a_token("x", *roles)))
        assert answer.status_code == status
    anonymous = await silent.post("/v1/members", a_sign_up(), headers={"Authorization": ""})
    assert anonymous.status_code == 401
    assert anonymous.headers["www-authenticate"] == "Bearer"

"""Decisions over HTTP: any past instant from the append-only data, who may ask, what is refused, who was affected."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pytest

from services.consent import handlers
from services.consent.bodies import ConsentBody, CorrectionBody, SignUpBody
from services.consent.decisions import handlers as decisions_handlers
from services.consent.handlers import Caller
from services.policy.model import FILES, Rules, parse
from services.runtime.clock import KST
from services.runtime.problem import Problem
from tests.integration.consent.harness import Service, a_sign_up, a_token, bearer
from tests.integration.consent.pinned import as_of
from tests.integration.consent.test_sign_up import HOST

TEXTS = {n: files("services.policy").joinpath(f"rules/{n}.toml").read_text(encoding="utf-8") for n in FILES}
ALL = {"collection": True, "sharing": True, "marketing": {"use": True, "email": True, "sms": True}}
NEW = "2026-06-01"


async def decision(service: Service, ref: str, token: str | None = None, **question: str) -> dict[str, Any]:
    asked = {"recipient": "tmax-os", "purpose": "P1.1", "item": "email", "member_ref": ref} | question
    answer = await service.http.get("/v1/decisions", params=asked, headers=bearer(token) if token else {})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def kinds(found: dict[str, Any]) -> list[str]:
    return [e["kind"] for e in found["evidence"]]


async def now_and_a_bit() -> str:
    """An instant between what happened before and what happens next."""
    await asyncio.sleep(0.01)
    instant = datetime.now(UTC).isoformat()
    await asyncio.sleep(0.01)
    return instant


async def test_an_answer_names_its_rule_and_evidence_and_no_value(silent: Service) -> None:
    made = await silent.sign_up(email="who@example.com", profiles=[HOST])
    found = await decision(silent, made["member_ref"])
    assert (found["allowed"], found["rule"]) == (True, "3.2-share")
    assert kinds(found) == ["status", "grant", "notice", "rule"]
    _, grant, notice, rule = found["evidence"]
    assert (grant["party"], grant["notice_version"], grant["collected_via"]) == ("tmax-os", "2021-02-22", "web")
    assert grant["change_id"] == made["change_id"]
    shown = (await silent.http.get("/v1/consent-notices/2021-02-22", headers={"Authorization": ""})).json()
    assert grant["notice_hash"] == shown["sha256"]["ko"]
    assert (notice["version"], rule["id"]) == ("2021-02-22", "3.2-share")
    assert "who@example.com" not in str(found)
    processor = await decision(silent, made["member_ref"], item="hypermeeting.phone")
    assert (processor["allowed"], processor["rule"]) == (True, "4.3-process")
    assert processor["evidence"][1]["items"] == ["department", "phone", "title"]
    assert (await decision(silent, made["member_ref"], item="ip"))["rule"] == "6.2-never"


async def test_any_past_instant_is_answered_as_it_was_then(silent: Service) -> None:
    ref = (await silent.sign_up(consents={"collection": True}))["member_ref"]
    before_grant = await now_and_a_bit()
    assert (await silent.put(ref, 1, "sharing", {"granted": True, "recipients": ["tmax-os"]})).status_code == 200
    granted = await now_and_a_bit()
    assert (await silent.put(ref, 2, "sharing", {"granted": False, "recipients": ["tmax-os"]})).status_code == 200
    revoked = await now_and_a_bit()
    assert (await silent.put(ref, 3, "sharing", {"granted": True, "recipients": ["tmax-os"]})).status_code == 200
    assert (await silent.post(f"/v1/members/{ref}/withdrawal")).status_code == 202
    leaving = await now_and_a_bit()
    assert (await silent.post(f"/v1/members/{ref}/withdrawal/confirm")).status_code == 200

    async def rule_at(at: str | None) -> tuple[bool, str]:
        found = await decision(silent, ref, **({"at": at} if at else {}))
        return found["allowed"], found["rule"]

    assert await rule_at(before_grant) == (False, "3.1-consent")
    assert await rule_at(granted) == (True, "3.2-share")
    assert await rule_at(revoked) == (False, "3.2-revoke")
    assert await rule_at(leaving) == (True, "3.2-share"), "what was given stays until the withdrawal is confirmed"
    assert await rule_at(None) == (False, "3.2-withdrawn")
    assert await rule_at("2020-01-01T00:00:00+09:00") == (False, "3.1-consent")


async def test_profiles_are_remembered_by_role_and_item_names_after_the_member_has_left(silent: Service) -> None:
    ref = (await silent.sign_up(consents={"collection": True}))["member_ref"]
    before = await now_and_a_bit()
    assert (await silent.patch(ref, 1, {"profiles": [HOST]})).status_code == 200
    using = await now_and_a_bit()
    for step in ("withdrawal", "withdrawal/confirm"):
        await silent.post(f"/v1/members/{ref}/{step}")
    phone = {"item": "hypermeeting.phone"}
    assert (await decision(silent, ref, **phone, at=before))["rule"] == "3.1-consent"
    then = await decision(silent, ref, **phone, at=using)
    assert (then["allowed"], then["evidence"][1]["role"]) == (True, "host")
    assert "010-1234-5678" not in str(then)
    assert (await decision(silent, ref, **phone))["rule"] == "3.2-withdrawn"


async def test_sending_is_answered_at_its_instant_night_and_request_to_leave_included(silent: Service) -> None:
    """Imported consents are old enough to ask about a night that is over."""
    row = a_sign_up(consents=ALL) | {"consented_at": "2026-10-01T12:00:00+09:00", "channel": "written"}
    ref = (await silent.post("/v1/members/import", {"rows": [row]})).json()["rows"][0]["member_ref"]

    async def rule(channel: str, at: str | None) -> str:
        when = {"at": at} if at else {}
        return str((await decision(silent, ref, purpose="marketing", channel=channel, **when))["rule"])

    assert await rule("sms", "2026-10-02T20:59:59+09:00") == "12-scope", "no notice told of the telephone number"
    assert await rule("sms", "2026-10-02T21:00:00+09:00") == "1.5-night"
    assert await rule("sms", "2026-10-03T07:59:59+09:00") == "1.5-night"
    assert await rule("sms", "2026-10-03T08:00:00+09:00") == "12-scope"
    assert await rule("email", "2026-10-02T23:00:00+09:00") == "1.5-send"
    assert await rule("push", "2026-10-02T12:00:00+09:00") == "1.5-channel"
    assert await rule("use", "2026-10-01T11:59:59+09:00") == "3.1-consent"
    found = await decision(silent, ref, purpose="P1.5", channel="email", at="2026-10-02T12:00:00+09:00")
    assert found["evidence"][1]["collected_via"] == "written"
    await silent.post(f"/v1/members/{ref}/withdrawal")
    assert await rule("email", None) == "3.2-withdrawal-request"
    await silent.post(f"/v1/members/{ref}/withdrawal/cancel")
    assert await rule("email", None) == "1.5-send"
    await silent.put(ref, 3, "marketing", {"granted": False, "senders": ["tmax-os"], "channel": "email"})
    assert await rule("email", None) == "1.5-channel"


async def test_a_third_party_may_use_what_the_ledger_says(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    before = await now_and_a_bit()
    body = {"recipient": "demo-partner", "items": ["email"], "purpose": "delivery", "basis": "consent"}
    assert (await silent.post(f"/v1/members/{ref}/disclosures", body)).status_code == 201
    question = {"recipient": "demo-partner", "purpose": "delivery"}
    found = await decision(silent, ref, **question)
    assert (found["allowed"], found["rule"]) == (True, "3.1-disclosed")
    assert found["evidence"][1]["basis"] == "consent"
    assert (await decision(silent, ref, **question, at=before))["rule"] == "3.1-consent"
    assert (await decision(silent, ref, **question | {"purpose": "P1.1"}))["allowed"] is False


async def test_members_ask_about_themselves_and_affiliates_about_themselves(silent: Service) -> None:
    ref = (await silent.sign_up(consents={"collection": True, "sharing": {"tmax-os": True}}))["member_ref"]
    question = {"recipient": "tmax-os", "purpose": "P1.1", "item": "email", "member_ref": ref}

    async def status(token: str, **changes: str) -> int:
        return (await silent.http.get("/v1/decisions", params=question | changes, headers=bearer(token))).status_code

    assert await status(a_token(ref, "member")) == 200
    assert await status(a_token("00000000-0000-0000-0000-000000000001", "member")) == 404
    assert await status(a_token("auditor", "compliance")) == 200
    assert await status(a_token("tmax-os", "affiliate")) == 200
    assert await status(a_token("tmax-anc", "affiliate")) == 403
    assert await status(a_token("demo-partner", "third_party")) == 403
    assert await status(a_token("tmax-os", "affiliate"), member_ref="nobody") == 404
    assert await status(a_token("auditor", "compliance"), member_ref="00000000-0000-0000-0000-000000000001") == 404


async def test_an_affiliate_learns_nothing_about_members_who_are_none_of_its(silent: Service) -> None:
    ref = (await silent.sign_up(consents={"collection": True}))["member_ref"]
    await silent.post(f"/v1/members/{ref}/withdrawal")
    found = await decision(silent, ref, a_token("tmax-anc", "affiliate"), recipient="tmax-anc")
    assert (found["allowed"], found["rule"], kinds(found)) == (False, "3.1-consent", ["rule"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"recipient": "acme"}, "unknown_recipient"),
        ({"purpose": "P1.9"}, "unknown_purpose"),
        ({"purpose": "delivery"}, "unknown_purpose"),
        ({"recipient": "demo-partner", "purpose": "p7"}, "unknown_purpose"),
        ({"item": "shoe_size"}, "unknown_item"),
        ({"channel": "email"}, "channel_not_for_purpose"),
        ({"purpose": "marketing", "channel": "pigeon"}, "unknown_channel"),
        ({"at": "2999-01-01T00:00:00+09:00"}, "instant_in_future"),
        ({"at": "2026-11-01T00:00:00"}, "instant_invalid"),
        ({"at": "yesterday"}, "instant_invalid"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_refused_with_a_code(
    silent: Service, changes: dict[str, str], code: str
) -> None:
    question = {"recipient": "tmax-os", "purpose": "P1.1", "item": "email", "member_ref": "x"} | changes
    answer = await silent.http.get("/v1/decisions", params=question)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    for value in changes.values():
        assert value in {"email", "marketing", "demo-partner", "delivery"} or value not in answer.text


async def test_an_offset_whose_plus_came_as_a_space_is_understood(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    url = f"/v1/decisions?recipient=tmax-os&purpose=P1.1&item=email&member_ref={ref}&at=2026-01-01T00:00:00+09:00"
    answer = await silent.http.get(url)
    assert (answer.status_code, answer.json()["rule"]) == (200, "3.1-consent")


async def test_notices_stay_readable_in_both_languages_with_their_scope(silent: Service) -> None:
    anonymous = {"Authorization": ""}
    found = (await silent.http.get("/v1/consent-notices", headers=anonymous)).json()["notices"]
    assert [(n["version"], n["current"]) for n in found] == [("2021-02-22", True)]
    english = (await silent.http.get("/v1/consent-notices/2021-02-22?locale=en", headers=anonymous)).json()
    sharing = english["parts"][1]
    assert sharing["recipients"] == ["tmax-anc", "tmax-cloud", "tmax-os"]
    assert sharing["items"] == ["email", "membership_status", "name", "password_hash"]
    assert sharing["title"] in english["text"]
    assert english["sha256"]["en"] != english["sha256"]["ko"]
    assert (await silent.http.get("/v1/consent-notices/1999-01-01")).status_code == 404


async def test_a_consent_keeps_the_hash_of_the_language_it_was_shown_in(silent: Service) -> None:
    ref = (await silent.sign_up(notice_locale="en"))["member_ref"]
    stored = await silent.pool.fetchval("SELECT DISTINCT notice_hash FROM consent WHERE member_ref = $1", ref)
    notice = silent.consent.rules.notice("2021-02-22")
    assert notice is not None
    assert stored == notice.hash_of("en")


async def test_every_record_says_how_it_was_collected(silent: Service) -> None:
    row = a_sign_up(profiles=[HOST]) | {"consented_at": "2026-10-01T12:00:00+09:00", "channel": "fax"}
    ref = (await silent.post("/v1/members/import", {"rows": [row]})).json()["rows"][0]["member_ref"]
    wapl = {"service": "wapl", "role": "member", "photo": "p.png"}
    assert (await silent.patch(ref, 1, {"profiles": [wapl]})).status_code == 200
    assert await silent.pool.fetchval("SELECT collected_via FROM member WHERE member_ref = $1", ref) == "fax"
    rows = await silent.pool.fetch("SELECT service, collected_via FROM profile WHERE member_ref = $1", ref)
    assert {r["service"]: r["collected_via"] for r in rows} == {"hypermeeting": "fax", "wapl": "web"}
    shown = (await silent.http.get(f"/v1/members/{ref}")).json()
    assert shown["collected_via"] == "fax"


async def test_a_declaration_of_age_takes_the_place_of_a_birth_date(silent: Service) -> None:
    async def status(**changes: Any) -> str:
        ref = (await silent.sign_up(**changes))["member_ref"]
        return str((await silent.http.get(f"/v1/members/{ref}")).json()["status"])

    assert await status(age_declaration=True) == "active"
    assert await status(age_declaration=False) == "pending_guardian"
    assert await status() == "active"
    assert await status(age_declaration=True, birth_date="2000-01-01") == "active"
    belied = await silent.post("/v1/members", a_sign_up(age_declaration=True, birth_date="2020-01-01"))
    assert (belied.status_code, belied.json()["code"]) == (422, "age_declaration_contradicted")
    imported = (await silent.post("/v1/members/import", {"rows": [a_sign_up(age_declaration=False)]})).json()
    child = imported["rows"][0]["member_ref"]
    assert (await silent.http.get(f"/v1/members/{child}")).json()["status"] == "pending_guardian"
    notes = await silent.pool.fetch("SELECT fact->>'note' AS note FROM change ORDER BY accepted_at")
    assert [r["note"] for r in notes] == ["age_declared", "pending_guardian", None, "age_declared", "pending_guardian"]


async def test_a_birth_date_in_a_profile_asks_for_the_guardian_as_the_accounts_does(silent: Service) -> None:
    """Found in review: WAPL's item of clause 6.2 made a child active, and nothing objected (law notes A10)."""
    child = {"profiles": [{"service": "wapl", "role": "member", "birth_date": "2020-01-01"}]}
    ref = (await silent.sign_up(**child))["member_ref"]
    assert (await silent.http.get(f"/v1/members/{ref}")).json()["status"] == "pending_guardian"
    assert await silent.pool.fetchval("SELECT count(*) FROM outbox WHERE aggregatetype LIKE '%affiliate%'") == 0
    belied = await silent.post("/v1/members", a_sign_up(**child, age_declaration=True))
    assert (belied.status_code, belied.json()["code"]) == (422, "age_declaration_contradicted")
    rows = {"rows": [a_sign_up(**child, age_declaration=True)]}
    (row,) = (await silent.post("/v1/members/import", rows)).json()["rows"]
    assert [e["code"] for e in row["errors"]] == ["age_declaration_contradicted"]
    adult = (await silent.sign_up(age_declaration=True))["member_ref"]
    refused = await silent.patch(adult, 1, child)
    assert (refused.status_code, refused.json()["code"]) == (422, "birth_date_by_request")
    assert "2020-01-01" not in refused.text
    unborn = {"profiles": [{"service": "wapl", "role": "member", "birth_date": "2999-01-01"}]}
    refused = await silent.patch(adult, 1, unborn)
    assert refused.json()["errors"] == [{"pointer": "/profiles/0/birth_date", "code": "birth_date_in_future"}]
    older = {"profiles": [{"service": "wapl", "role": "member", "birth_date": "2000-01-01"}]}
    assert (await silent.patch(adult, 1, older)).status_code == 200
    refused = await silent.patch(ref, 1, older)
    assert (refused.status_code, refused.json()["code"]) == (422, "birth_date_by_request")


async def test_who_was_affected_in_a_window_by_recipient_and_item(silent: Service) -> None:
    early = await now_and_a_bit()
    shares = {"collection": True, "sharing": {"tmax-os": True}}
    one = (await silent.sign_up(consents=shares, profiles=[HOST]))["member_ref"]
    two = (await silent.sign_up(consents=shares))["member_ref"]
    both = await now_and_a_bit()
    assert (await silent.put(two, 1, "sharing", {"granted": False, "recipients": ["tmax-os"]})).status_code == 200
    late = await now_and_a_bit()
    third = (await silent.sign_up(consents=shares))["member_ref"]
    staff = bearer(a_token("ciso", "sre"))

    async def affected(**window: str) -> list[str]:
        answer = await silent.http.get("/v1/affected", params=window, headers=staff)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["member_refs"])

    os_email = {"recipient": "tmax-os", "item": "email"}
    assert await affected(**{"from": early, "to": both}, **os_email) == sorted([one, two])
    assert await affected(**{"from": late}, **os_email) == sorted([one, third]), "held from before, or given since"
    assert await affected(**{"from": "2020-01-01T00:00:00+09:00", "to": early}) == []
    assert await affected(**{"from": early}, item="hypermeeting.phone") == [one]
    assert await affected(**{"from": early}, item="phone") == [one]
    assert await affected(**{"from": early}, item="wapl.photo") == []
    assert await affected(**{"from": early}, recipient="tmax-anc") == []
    assert await affected(**{"from": early}, recipient="tmax-cloud", cursor=max(one, two, third)) == []


async def test_who_is_affected_after_a_contract_ended_holds_what_the_other_right_left(silent: Service) -> None:
    """Found in review: the full state that tells of the end names the role that is left."""
    shares = {"collection": True, "sharing": {"tmax-os": True}}
    async with as_of(silent, datetime(2031, 2, 1, 10, tzinfo=KST)) as before:
        ref = await before.sign_up(consents=shares, profiles=[HOST])
    async with as_of(silent, datetime(2031, 3, 3, 10, tzinfo=KST)) as after:
        corrected = await after.http.patch(f"/v1/members/{ref}", json={"name": "김하나"}, headers={"If-Match": '"1"'})
        assert corrected.status_code == 200
    window = {"from": "2031-03-04T00:00:00+09:00", "recipient": "tmax-os"}
    async with as_of(silent, datetime(2031, 3, 5, 10, tzinfo=KST), "sre") as staff:
        for item, found in (("name", [ref]), ("hypermeeting.phone", [])):
            answer = await staff.http.get("/v1/affected", params=window | {"item": item})
            assert answer.json()["member_refs"] == found, item


async def test_only_staff_ask_who_was_affected_and_in_a_window_that_is_one(silent: Service) -> None:
    window = {"from": "2026-01-01T00:00:00+09:00"}
    assert (await silent.http.get("/v1/affected", params=window)).status_code == 403
    staff = bearer(a_token("ciso", "compliance"))
    for changes, code in (
        ({"to": "2025-01-01T00:00:00+09:00"}, "window_reversed"),
        ({"recipient": "acme"}, "unknown_recipient"),
        ({"item": "shoe_size"}, "unknown_item"),
        ({"cursor": "page 2"}, "unknown_cursor"),
    ):
        answer = await silent.http.get("/v1/affected", params=window | changes, headers=staff)
        assert (answer.status_code, answer.json()["code"]) == (422, code)


def with_a_fourth(scope: tuple[str, str] = ("", "")) -> Rules:
    """The policy after 2026-06-01: a fourth affiliate, and a notice version that names it."""
    entry = '\n[[affiliate]]\nid = "tmax-new"\nko = "㈜티맥스뉴"\nen = "Tmax New"\nclause = "3.2"\n'
    later = TEXTS["notices"][TEXTS["notices"].index("[[notice]]") :].replace("2021-02-22", NEW)
    later = later.replace('recipients = ["tmax-cloud", ', 'recipients = ["tmax-new", "tmax-cloud", ')
    later = later.replace(*scope) if scope[0] else later
    policy = TEXTS["policy"].replace("\n[[third_party]]", entry + "\n[[third_party]]", 1)
    return parse(TEXTS | {"policy": policy, "notices": TEXTS["notices"] + "\n" + later})


async def test_a_fourth_affiliate_gets_nothing_of_anybody_until_they_consent(silent: Service) -> None:
    ref = (await silent.sign_up(profiles=[HOST]))["member_ref"]
    later = replace(silent.consent, rules=with_a_fourth())
    caller = Caller("test", "member")
    await handlers.correct(later, ref, CorrectionBody(name="새 이름"), "*", caller, None)
    topic = "dongui.affiliate.tmax-new.v1"
    sent = "SELECT count(*) FROM outbox WHERE aggregatetype = $1"
    assert await silent.pool.fetchval(sent, topic) == 0
    stale = ConsentBody(granted=True, recipients=["tmax-new"], notice_version="2021-02-22")
    with pytest.raises(Problem) as refused:
        await handlers.change_consent(later, ref, "sharing", stale, "*", caller, None)
    assert refused.value.code == "superseded_notice_version"
    given = ConsentBody(granted=True, recipients=["tmax-new"], notice_version=NEW)
    await handlers.change_consent(later, ref, "sharing", given, "*", caller, None)
    assert await silent.pool.fetchval(sent, topic) == 1, "the whole state goes on the grant"
    roles = await silent.pool.fetch("SELECT recipient, items FROM disclosure WHERE recipient = 'tmax-new'")
    assert [sorted(r["items"]) for r in roles] == [["email", "membership_status", "name", "password_hash"]]


async def test_yes_to_sharing_means_the_affiliates_the_notice_names(silent: Service) -> None:
    later = replace(silent.consent, rules=with_a_fourth())
    body = SignUpBody.model_validate(a_sign_up(notice_version=NEW))
    made = await handlers.sign_up(later, body, Caller("test", "member"), None)
    parties = "SELECT array_agg(party ORDER BY party) FROM consent WHERE member_ref = $1 AND purpose = 'sharing'"
    found = await silent.pool.fetchval(parties, made.body["member_ref"])
    assert found == ["tmax-anc", "tmax-cloud", "tmax-new", "tmax-os"]


async def test_a_notice_that_tells_more_opens_reconsent_and_the_old_consent_keeps_its_scope(silent: Service) -> None:
    ref = (await silent.sign_up(consents={"collection": True, "sharing": {"tmax-os": True}}))["member_ref"]
    path = f"/v1/members/{ref}/reconsents"
    assert (await silent.http.get(path)).json() == {"notice_version": "2021-02-22", "reconsents": []}
    wider = with_a_fourth(('"membership_status"]\nrecipients', '"membership_status", "phone"]\nrecipients'))
    later = replace(silent.consent, rules=wider)
    found = await decisions_handlers.asked_again(later, ref)
    asked = [(r["purpose"], r["recipient"], r["given_under"], r["changed"]) for r in found["reconsents"]]
    assert asked == [
        ("sharing", "tmax-os", "2021-02-22", ["items"]),
        ("sharing", "tmax-new", None, ["recipients"]),
    ]
    given = ConsentBody(granted=True, recipients=["tmax-os"], notice_version=NEW)
    await handlers.change_consent(later, ref, "sharing", given, "*", Caller("test", "member"), None)
    left = await decisions_handlers.asked_again(later, ref)
    assert left["reconsents"] == [], "they were told of the fourth affiliate, and chose"


async def test_an_answer_about_yesterday_does_not_change_with_what_happens_today(silent: Service) -> None:
    ref = (await silent.sign_up(profiles=[HOST]))["member_ref"]
    at = await now_and_a_bit()
    first = await decision(silent, ref, at=at)
    await silent.put(ref, 1, "sharing", {"granted": False, "recipients": ["tmax-os"]})
    for step in ("withdrawal", "withdrawal/confirm"):
        await silent.post(f"/v1/members/{ref}/{step}")
    assert await decision(silent, ref, at=at) == first

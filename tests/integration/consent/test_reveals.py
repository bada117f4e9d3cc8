"""Staff and a member's values: masked, revealed for a coded reason, found by e-mail, as of an instant; and logged."""

import uuid
from typing import Any

import orjson
import pytest

from schemas.receipts import REGISTER_TYPE
from tests.integration.consent.harness import Service, a_token, bearer

PHONE = "010-1234-5678"
PROFILE = {"service": "hypermeeting", "role": "host", "phone": PHONE, "department": "연구1팀", "title": "책임"}
COMPLIANCE = bearer(a_token("kim", "compliance", access_point="192.0.2.7"))


async def entries(service: Service) -> list[dict[str, Any]]:
    """Return the register entries of staff access."""
    rows = await service.pool.fetch("SELECT payload FROM outbox WHERE type = $1 ORDER BY position", REGISTER_TYPE)
    found = [orjson.loads(row["payload"]) for row in rows]
    return [one for one in found if one["kind"] == "staff_access"]


@pytest.mark.parametrize("role", ["compliance", "cpo", "sre", "auditor"])
async def test_staff_see_a_member_masked(silent: Service, role: str) -> None:
    ref = (await silent.sign_up(profiles=[PROFILE]))["member_ref"]
    seen = await silent.http.get(f"/v1/members/{ref}", headers=bearer(a_token("kim", role)))
    assert seen.json()["masked"] is True
    assert seen.json()["name"] == "홍*동"
    assert seen.json()["profiles"][0]["phone"] == "010-****-5678"
    assert not [value for value in ("홍길동", PHONE, "연구1팀", "책임") if value in seen.text]
    own = await silent.http.get(f"/v1/members/{ref}", headers=bearer(a_token(ref, "member")))
    assert own.json()["name"] == (await silent.http.get(f"/v1/members/{ref}")).json()["name"] == "홍길동"


async def test_a_reveal_shows_the_values_and_leaves_who_when_where_whose_and_why(silent: Service) -> None:
    ref = (await silent.sign_up(profiles=[PROFILE]))["member_ref"]
    before = len(await entries(silent))
    body = {"reason": "rights_request", "reference": "VOC-42"}
    shown = await silent.http.post(f"/v1/members/{ref}/reveals", json=body, headers=COMPLIANCE)
    assert shown.status_code == 200
    assert shown.headers["cache-control"] == "no-store"
    assert (shown.json()["name"], shown.json()["profiles"][0]["phone"]) == ("홍길동", PHONE)
    entry = (await entries(silent))[before]
    assert (entry["state"], entry["member_ref"], entry["actor"]) == ("revealed", ref, "staff")
    codes = {"by": "kim", "reason": "rights_request", "reference": "VOC-42", "access_point": "192.0.2.7"}
    assert entry["codes"] == {**codes, "work": "reveal"}


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 422), ({"reason": "curiosity"}, 422), ({"reason": "inquiry", "reference": "홍길동"}, 422)],
)
async def test_no_value_without_a_coded_reason(silent: Service, body: dict[str, str], status: int) -> None:
    ref = (await silent.sign_up())["member_ref"]
    before = len(await entries(silent))
    answer = await silent.http.post(f"/v1/members/{ref}/reveals", json=body, headers=COMPLIANCE)
    assert answer.status_code == status
    assert "홍길동" not in answer.text
    assert len(await entries(silent)) == before


@pytest.mark.parametrize("role", ["sre", "auditor", "service", "affiliate", "member"])
async def test_only_officers_reveal_and_search(silent: Service, role: str) -> None:
    ref = (await silent.sign_up())["member_ref"]
    headers = bearer(a_token(ref if role == "member" else "tmax-os", role))
    for path, body in ((f"/v1/members/{ref}/reveals", {}), ("/v1/members/searches", {"email": "a@b.kr"})):
        answer = await silent.http.post(path, json={"reason": "inquiry", **body}, headers=headers)
        assert answer.status_code == 403


async def test_a_search_by_e_mail_finds_the_reference_and_is_logged_found_or_not(silent: Service) -> None:
    email = f"m{uuid.uuid4().hex[:8]}@example.com"
    ref = (await silent.sign_up(email=email))["member_ref"]
    before = len(await entries(silent))
    for asked, status in ((email.upper(), 200), ("nobody@example.com", 404)):
        body = {"email": asked, "reason": "inquiry"}
        answer = await silent.http.post("/v1/members/searches", json=body, headers=COMPLIANCE)
        assert answer.status_code == status
        assert "example.com" not in answer.text
    found, missed = (await entries(silent))[before:]
    assert (found["state"], found["member_ref"]) == ("found", ref)
    assert missed["state"] == "not_found"
    assert "member_ref" not in missed or missed["member_ref"] is None
    assert "example.com" not in orjson.dumps([found, missed]).decode()


async def test_a_member_as_of_an_instant_is_what_the_history_says(silent: Service) -> None:
    made = await silent.sign_up(profiles=[PROFILE])
    ref = made["member_ref"]
    shared = (await silent.http.get(f"/v1/members/{ref}/as-of", headers=COMPLIANCE)).json()
    assert shared["holding"] == ["tmax-anc", "tmax-cloud", "tmax-os"]
    revoked = {"granted": False, "recipients": ["tmax-anc", "tmax-os"]}
    assert (await silent.put(ref, made["seq"], "sharing", revoked)).status_code == 200
    now = (await silent.http.get(f"/v1/members/{ref}/as-of", headers=COMPLIANCE)).json()
    assert now["status"] == "active"
    assert now["holding"] == ["tmax-cloud", "tmax-os"], "tmax-os still runs HyperMeeting as a processor"
    assert {c["party"] for c in now["consents"] if c["purpose"] == "sharing"} == {"tmax-cloud"}
    then = await silent.http.get(f"/v1/members/{ref}/as-of", params={"at": shared["at"]}, headers=COMPLIANCE)
    assert then.json() == shared
    past = await silent.http.get(
        f"/v1/members/{ref}/as-of", params={"at": "2025-01-01T00:00:00+09:00"}, headers=COMPLIANCE
    )
    assert past.json() | {"at": ""} == {
        "at": "", "status": None, "consents": [], "services": [], "disclosures": [], "holding": [],
    }  # fmt: skip
